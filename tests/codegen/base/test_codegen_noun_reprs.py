"""What people see of a noun: addresses in hexadecimal, sizes with units, and a screen at most."""

from __future__ import annotations

from dataclasses import field
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base.noun_reprs import MOST, size_told
from relokit.codegen.base.nouns import dataclass


class Way(StrEnum):
    """A choice that is spelled."""

    NORMAL = "normal"


class Place(Enum):
    """A choice that is not."""

    HERE = 1


@dataclass(frozen=True, slots=True)
class Bank:
    """A piece of memory."""

    base: int
    bytes: int
    pages: int = 0
    page_size: int | None = None


@dataclass(frozen=True)
class Held:
    """All kinds of values."""

    what: Any
    registers: dict[str, int] = field(default_factory=dict)
    secret: str = field(default="s", repr=False)


@pytest.mark.parametrize(
    ("noun", "told"),
    [
        (Bank(0x40000000, 264 << 10), "Bank(base=0x40000000, bytes=264 KiB)"),
        (Bank(0, 1, 1), "Bank(base=0x0, bytes=1 byte, pages=1 page)"),
        (Bank(0, 1536, 1234, 1 << 16),
         "Bank(base=0x0, bytes=1,536 bytes, pages=1,234 pages, page_size=64 KiB)"),
        (Held(1234567), "Held(what=1,234,567)"),
        (Held(0xFFFF800008000040), "Held(what=0xffff800008000040)"),
        (Held(True), "Held(what=True)"),
        (Held(None), "Held(what=None)"),
        (Held(Way.NORMAL), "Held(what=normal)"),
        (Held(Place.HERE), "Held(what=HERE)"),
        (Held(Path("a/b")), "Held(what='a/b')"),
        (Held(b"abc"), "Held(what=<3 bytes>)"),
        (Held(()), "Held(what=())"),
        (Held((1, 2)), "Held(what=(1, 2))"),
        (Held(tuple(range(9))), "Held(what=<9>)"),
        (Held((Bank(1, 2), Bank(3, 4))), "Held(what=<2 Bank>)"),
        (Held(Bank(1, 2)), "Held(what=Bank(base=0x1, bytes=2 bytes))"),
        (Held(Held(Bank(1, 2))), "Held(what=Held(what=Bank(...)))"),
        (Held(object()), "Held(what=<object>)"),
        (Held(1, {"x0": 10, "TCR_EL1": 0x10}),
         "Held(what=1, registers={'x0': 0xa, 'TCR_EL1': 0x10})"),
        (Held(1, secret="t"), "Held(what=1)"),
    ],
)  # fmt: skip
def test_a_noun_is_told_with_units(noun: object, told: str) -> None:
    assert repr(noun) == told


@pytest.mark.parametrize(
    "what",
    ["x" * (1 << 20), b"x" * (1 << 20), tuple(range(1 << 20)), {n: n for n in range(1 << 16)},
     ("x" * 1000,) * 4, Held(Held("\x1b[2J\n" * 1000)), tuple(Bank(n, n) for n in range(1 << 12))],
    ids=["text", "bytes", "numbers", "table", "texts", "nested", "nouns"],
)  # fmt: skip
def test_however_much_is_in_it_it_fits_a_screen(what: object) -> None:
    told = repr(Held(what))
    assert len(told) <= MOST
    assert told.isprintable()


def test_one_that_is_refused_while_it_is_made_can_be_told() -> None:
    half = Bank.__new__(Bank)
    object.__setattr__(half, "bytes", 4096)
    assert repr(half) == "Bank(bytes=4 KiB)"


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1,023 bytes"), (1024, "1 KiB"), (1 << 20, "1 MiB"),
     (3 << 30, "3 GiB"), ((1 << 20) + 1, "1,048,577 bytes"), (5 << 40, "5,120 GiB")],
)  # fmt: skip
def test_sizes_are_whole(count: int, told: str) -> None:
    assert size_told(count) == told
