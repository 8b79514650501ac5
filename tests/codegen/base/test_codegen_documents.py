"""Documents: what is written is read again, and nothing else is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.documents import (
    ABSENT,
    ALL,
    Table,
    data_of,
    document,
    from_data,
    from_json,
    hints_of,
    shown,
    to_data,
    to_json,
)
from relokit.codegen.base.errors import FormatError

if TYPE_CHECKING:
    # Not there when this runs: an annotation's name is found all the same.
    from relokit.codegen.target import Regime as Shade


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Size(NamedTuple):
    width: int
    height: int


@dataclass(frozen=True)
class Part:
    name: str
    at: int | None
    weight: float = 0.0
    note: str = field(default="", metadata=ABSENT)


@dataclass(frozen=True)
class Whole:
    SCHEMA: ClassVar[str] = "test.whole/1"

    colour: Colour
    parts: tuple[Part, ...]
    counts: Mapping[Colour, int]
    pair: tuple[int, str]
    registers: tuple[tuple[str, int], ...] = field(default=(), metadata=ABSENT)
    best: Part | None = None
    place: int | str | None = None


@dataclass(frozen=True)
class View:
    DOCUMENT: ClassVar[Table] = {
        ALL: "part",
        "colour": "whole.colour",
        "best": "whole.best.name",
        "inner": {"size": "size", "twice": "twice"},
    }

    part: Part
    whole: Whole
    size: Size

    def twice(self) -> tuple[str, ...]:
        """A method without arguments."""
        return (self.part.name,) * 2


@dataclass(frozen=True)
class Partial:
    """Shows more than it holds."""

    DOCUMENT: ClassVar[Table] = shown("number", "text")

    number: int

    @property
    def text(self) -> str:
        """Computed."""
        return f"number {self.number}"


PARTS = st.builds(
    Part,
    st.text(),
    st.none() | st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)
WHOLES = st.builds(
    Whole,
    st.sampled_from(Colour),
    st.lists(PARTS, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(Colour), st.integers()),
    st.tuples(st.integers(), st.text()),
    st.dictionaries(st.text(), st.integers(), max_size=3).map(lambda found: tuple(found.items())),
    st.none() | PARTS,
    st.none() | st.integers() | st.text(),
)
WHOLE = Whole(Colour.RED, (Part("a", 1),), {Colour.BLUE: 2}, (3, "b"))


@settings(deadline=None)
@given(WHOLES)
def test_what_is_written_is_read_again(whole: Whole) -> None:
    again = from_json(Whole, to_json(whole))
    assert again == whole
    assert again.colour is whole.colour


def test_a_document_says_first_what_it_is() -> None:
    assert list(document(WHOLE)) == [
        "schema", "colour", "parts", "counts", "pair", "best", "place",
    ]  # fmt: skip
    assert document(WHOLE)["schema"] == "test.whole/1"


def test_absent_facts_are_left_out_and_nothing_else() -> None:
    assert to_data(Part("a", None)) == {"name": "a", "at": None, "weight": 0.0}
    assert to_data(Part("a", None, 0.0, "n"))["note"] == "n"
    assert to_data(WHOLE) == {
        "colour": "red",
        "parts": [{"name": "a", "at": 1, "weight": 0.0}],
        "counts": {"blue": 2},
        "pair": [3, "b"],
        "best": None,
        "place": None,
    }


def test_a_table_shows_what_it_names() -> None:
    view = View(Part("a", 1, 2.0), WHOLE, Size(3, 4))
    assert to_data(view) == {
        "name": "a",
        "at": 1,
        "weight": 2.0,
        "colour": "red",
        "best": None,
        "inner": {"size": {"width": 3, "height": 4}, "twice": ["a", "a"]},
    }


def test_what_is_computed_is_shown_and_not_read() -> None:
    assert to_data(Partial(3)) == {"number": 3, "text": "number 3"}
    assert from_data(Partial, {"number": 3, "text": "number 4"}) == Partial(3)


GOOD: dict[str, Any] = json.loads(to_json(WHOLE))


@pytest.mark.parametrize(
    "damage",
    [
        {"colour": "green"},
        {"colour": None},
        {"colour": 1},
        {"parts": {}},
        {"parts": [{"name": "a"}]},
        {"parts": [{"name": "a", "at": "1", "weight": 0.0}]},
        {"parts": [{"name": "a", "at": True, "weight": 0.0}]},
        {"parts": [{"name": "a", "at": 1, "weight": 10**400}]},
        {"parts": [{"name": "a", "at": 1, "weight": -(10**400)}]},
        {"parts": [{"name": "a", "at": 1, "weight": 0.0, "colour": "red"}]},
        {"counts": {"green": 1}},
        {"counts": {"red": 1.5}},
        {"pair": [3]},
        {"pair": ["b", 3]},
        {"registers": {"x0": "1"}},
        {"registers": [["x0", 1]]},
        {"place": 1.5},
        {"place": []},
        {"other": 1},
    ],
)
def test_anything_else_is_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="not the document of Whole"):
        from_data(Whole, GOOD | damage)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_what_lacks_a_key_is_refused(key: str) -> None:
    with pytest.raises(FormatError, match=key):
        from_data(Whole, {name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize("text", [b"", b"{", b"nonsense", b"[" * 100_000, b"\xff"])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        from_json(Whole, text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "name", "at", "weight", "red"]), inner)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(ANYTHING | st.dictionaries(st.sampled_from(sorted(GOOD)), ANYTHING).map(lambda d: GOOD | d))
def test_whatever_comes_is_read_or_refused(data: object) -> None:
    try:
        whole = from_data(Whole, data)
    except FormatError:
        return
    # What is read has the types it says, so it can be written again.
    assert from_json(Whole, to_json(whole)) == whole


def test_many_are_an_array() -> None:
    parts = (Part("a", 1), Part("b", None))
    assert from_json(tuple[Part, ...], to_json(parts)) == parts
    assert from_json(tuple[Part, ...], to_json(())) == ()


# One of several types -----------------------------------------------------------------------------


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Nothing:
    why: str


@dataclass(frozen=True)
class Spot:
    at: int


@dataclass(frozen=True)
class Mixed:
    """What a Record is full of."""

    fact: Spot | Nothing | None
    colour: Colour | Nothing
    flag: bool | Nothing
    spots: tuple[Spot, ...] | Nothing | None
    by_number: Mapping[int, Spot]
    level: Level
    code: bytes
    names: frozenset[str]
    shade: Shade | Nothing


NOTHING = st.builds(Nothing, st.text(max_size=3))
SPOT = st.builds(Spot, st.integers(0, 1 << 64))
MIXED = st.builds(
    Mixed,
    fact=SPOT | NOTHING | st.none(),
    colour=st.sampled_from(Colour) | NOTHING,
    flag=st.booleans() | NOTHING,
    spots=st.lists(SPOT, max_size=3).map(tuple) | NOTHING | st.none(),
    by_number=st.dictionaries(st.integers(-5, 1 << 64), SPOT, max_size=3),
    level=st.sampled_from(Level),
    code=st.binary(max_size=5),
    names=st.frozensets(st.text(max_size=3), max_size=3),
    shade=NOTHING,
)


@given(MIXED)
def test_one_of_several_types_is_read_as_what_it_was(mixed: Mixed) -> None:
    hints = hints_of(Mixed)
    assert set(hints) == {one.name for one in fields(Mixed)}
    for name, hint in hints.items():
        value = getattr(mixed, name)
        assert from_data(hint, json.loads(json.dumps(data_of(hint, value)))) == value
    assert from_json(Mixed, to_json(mixed)) == mixed


def test_equal_sets_are_written_alike() -> None:
    one, other = (data_of(frozenset[str], frozenset(words)) for words in ("abc", "cba"))
    assert one == other == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("fact", {"at": 1}),
        ("fact", {"Whole": {}}),
        ("fact", {"Spot": {"at": 1}, "Nothing": {"why": ""}}),
        ("fact", {}),
        ("fact", 7),
        ("colour", 7),
        ("colour", "no colour"),
        ("flag", 1),
        ("spots", "spots"),
        ("by_number", {"01": {"at": 1}}),
        ("by_number", {"+1": {"at": 1}}),
        ("by_number", {"²": {"at": 1}}),
        ("by_number", {"-" + "1" * 50: {"at": 1}}),
        ("level", "1"),
        ("level", True),
        ("code", "0"),
        ("code", 0),
        ("names", "abc"),
    ],
)
def test_none_of_several_types_is_refused(name: str, data: object) -> None:
    with pytest.raises(FormatError):
        from_data(hints_of(Mixed)[name], data)
