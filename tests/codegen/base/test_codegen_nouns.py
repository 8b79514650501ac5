"""Our dataclass against the standard library's."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any, ClassVar, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base import nouns
from relokit.codegen.base.nouns import dataclass
from support.whole import whole

NAMES = ("a", "b", "self_", "_set", "c")
FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["bare", "default", "factory"]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=len(NAMES),
)
VALUES = st.lists(st.integers(0, 2), max_size=6)


def made(make: Callable[..., Any], shape: list[tuple[str, bool, bool, bool]], **how: bool) -> Any:
    """A class with fields of ``shape``: what they have, keyword only, compared, shown."""
    body: dict[str, Any] = {"__annotations__": {}, "__qualname__": "Made", "__doc__": "One."}
    for name, (has, keyword, compared, shown) in zip(NAMES, shape, strict=False):
        body["__annotations__"][name] = "int"
        given: dict[str, Any] = {"kw_only": keyword, "compare": compared, "repr": shown}
        if has == "default":
            given["default"] = 1
        elif has == "factory":
            given["default_factory"] = lambda: 2
        body[name] = dataclasses.field(**given)
    body["__module__"] = __name__
    return make(frozen=True, **how)(type("Made", (), body))


def outcome(act: Callable[[], Any]) -> Any:
    """What ``act`` returns, or the class of what it raises."""
    try:
        return act()
    except Exception as error:
        return type(error)


@given(FIELDS, VALUES, VALUES, st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2)),
       st.booleans(), st.booleans())  # fmt: skip
def test_it_does_what_the_standard_one_does(
    shape: list[tuple[str, bool, bool, bool]],
    one: list[int],
    other: list[int],
    named: dict[str, int],
    slots: bool,
    eq: bool,
) -> None:
    try:
        theirs = made(dataclasses.dataclass, shape, slots=slots, eq=eq)
    except TypeError:
        # A field without a default behind one that has it.
        with pytest.raises((TypeError, SyntaxError)):
            made(dataclass, shape, slots=slots, eq=eq)
        return
    ours = made(dataclass, shape, slots=slots, eq=eq)
    parameters = [
        [(one.name, one.kind) for one in inspect.signature(cls).parameters.values()]
        for cls in (theirs, ours)
    ]
    assert parameters[0] == parameters[1]
    seen = []
    for cls in (theirs, ours):
        first = outcome(lambda cls=cls: cls(*one, **named))
        second = outcome(lambda cls=cls: cls(*other, **named))
        if isinstance(first, type):
            seen.append((first, second if isinstance(second, type) else whole(second)))
            continue
        values = [getattr(first, field.name) for field in dataclasses.fields(first)]
        same = None if isinstance(second, type) else first == second
        hashed = eq and not isinstance(second, type) and (hash(first) == hash(second)) >= same
        again = dataclasses.replace(first, **dict(list(named.items())[:1]))
        seen.append((whole(first), values, same, hashed, whole(again), cls.__match_args__))
    assert seen[0] == seen[1]


@dataclass(frozen=True, slots=True)
class Point:
    """With slots."""

    KIND: ClassVar[str] = "point"

    x: int
    y: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Without, and with a check of its own."""

    x: int
    y: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")


@pytest.mark.parametrize("value", [Point(1, (2,)), Checked(x=1, y=[2])])
def test_it_is_frozen_pickled_and_copied(value: Any) -> None:
    for name in ("x", "unheard_of"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(value, name, 3)
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            delattr(value, name)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(value, protocol)) == value
    assert copy.deepcopy(value) == copy.copy(value) == value
    assert get_type_hints(type(value).__init__)["x"] is int


def test_a_check_after_the_fields_is_made() -> None:
    with pytest.raises(ValueError, match="negative"):
        Checked(x=-1)
    assert Checked(x=1).y is not Checked(x=1).y


def test_what_can_be_changed_is_the_standard_ones() -> None:
    @dataclass(slots=True)
    class Open:
        x: int

    one = Open(1)
    one.x = 2
    assert one == Open(2)
    assert Open.__hash__ is None


def test_one_method_is_compiled_for_a_class_once_there_is_one_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the whole module is for, by count: the standard one compiles six."""
    compiled = []

    def counting(*arguments: Any) -> None:
        compiled.append(arguments[0])
        exec(*arguments)

    for module in (nouns, dataclasses):
        monkeypatch.setattr(module, "exec", counting, raising=False)
    ours = made(dataclass, [("bare", False, True, True)] * 3, slots=True)
    assert compiled == []
    assert [ours(1, 2, 3), ours(1, b=2, self_=3)] == [ours(a=1, b=2, self_=3)] * 2
    assert len(compiled) == 1
    made(dataclasses.dataclass, [("bare", False, True, True)] * 3, slots=True)
    assert len(compiled) > 2


def test_a_method_that_was_wrapped_before_there_was_one_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cls = made(dataclass, [("bare", False, True, True), ("default", False, True, True)])
    first, calls = cls.__init__, []

    def wrapped(self: Any, *values: Any) -> None:
        calls.append(values)
        first(self, *values)

    monkeypatch.setattr(cls, "__init__", wrapped)
    assert [(one.a, one.b) for one in (cls(3), cls(4, 5))] == [(3, 1), (4, 5)]
    assert calls == [(3,), (4, 5)]


def test_a_signature_is_its_own_classes() -> None:
    class Derived(Checked):
        def __init__(self, only: str) -> None:
            super().__init__(x=len(only))

    theirs = inspect.signature(dataclasses.make_dataclass("Other", [("x", "int"), ("y", "list")]))
    assert inspect.signature(Checked).return_annotation == theirs.return_annotation
    assert str(inspect.signature(Point)).startswith("(x: 'int', y: 'tuple[int, ...]' = ")
    assert list(inspect.signature(Derived).parameters) == ["only"]
    assert Derived("four").x == 4
    assert not hasattr(Derived("four"), "__signature__")
