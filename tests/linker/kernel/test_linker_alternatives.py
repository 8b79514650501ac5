"""Tables of boot-time alternatives laid out here, sound and hostile, then read back."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.linker.kernel.alternatives import (
    ENTRY,
    MAX_ENTRIES,
    MIN_RUN,
    Alternative,
    read_alternatives,
)
from relokit.linker.kernel.kallsyms import Kallsyms

TABLE_AT = 0x20_0004
IMAGE_SIZE = 0x40_0000

REPLACED = Alternative(0x1000, 8, 0x1F00, 8, 103, callback=False)
CALLED = Alternative(0x1008, 4, 0x3000, 0, 26, callback=True)
NOTHING = Alternative(0x1010, 0, 0x1F10, 0, 7, callback=False)


def entry(at: int, alt: Alternative, *, flagged: bool = True) -> bytes:
    return struct.pack(
        "<iiHBB",
        alt.place - at,
        alt.replacement - (at + 4),
        alt.capability | (alt.callback and flagged) << 15,
        alt.size,
        alt.replacement_size,
    )


def image_with(entries: Iterable[Alternative], *, flagged: bool = True) -> memoryview:
    image = bytearray(IMAGE_SIZE)
    at = TABLE_AT
    for alt in entries:
        image[at : at + ENTRY] = entry(at, alt, flagged=flagged)
        at += ENTRY
    return memoryview(bytes(image))


def symbols(**offsets: int) -> Kallsyms:
    ascending = sorted(offsets.items(), key=lambda pair: pair[1])
    return Kallsyms.of(((name, "t", at) for name, at in ascending), 0xFFFF_8000_0800_0000)


def named(count: int) -> Kallsyms:
    return symbols(__alt_instructions=TABLE_AT, __alt_instructions_end=TABLE_AT + ENTRY * count)


def many(count: int) -> list[Alternative]:
    return [Alternative(0x1000 + 8 * n, 4, 0x8_0000 + 4 * n, 4, 5, callback=False)
            for n in range(count)]  # fmt: skip


@pytest.mark.parametrize("flagged", [True, False])
def test_entries_are_read_as_they_were_written(flagged: bool) -> None:
    """Kernels before 6.1 tell a function by its size alone."""
    table = read_alternatives(image_with([REPLACED, CALLED, NOTHING], flagged=flagged), named(3))
    assert (table.start, table.end, len(table)) == (TABLE_AT, TABLE_AT + 36, 3)
    assert table.within(0, IMAGE_SIZE) == (REPLACED, CALLED)


def test_those_that_touch_a_range_are_chosen() -> None:
    table = read_alternatives(image_with([CALLED, REPLACED, NOTHING]), named(3))
    assert table.within(0x1007, 0x1008) == (REPLACED,)
    assert table.within(0x1008, 0x1009) == (CALLED,)
    assert table.within(0xF00, 0x1009) == (CALLED, REPLACED)  # in the order of the table
    assert table.within(0x100C, 0x2000) == ()
    assert table.within(0xF00, 0x1000) == ()
    assert table.replacing_from(0x1F07, 0x1F08) == (REPLACED,)
    assert table.replacing_from(0x2000, 0x4000) == ()  # a function is no replacement


def test_a_table_without_a_name_is_the_longest_run() -> None:
    entries = many(2 * MIN_RUN)
    image = image_with(entries)
    for found in (read_alternatives(image, symbols()),
                  read_alternatives(image, symbols(_einittext=TABLE_AT - 4))):  # fmt: skip
        assert (found.start, len(found)) == (TABLE_AT, 2 * MIN_RUN)
        assert list(found.within(0, IMAGE_SIZE)) == entries


@pytest.mark.parametrize("count", [0, 1, MIN_RUN - 1])
def test_a_short_run_is_no_table(count: int) -> None:
    with pytest.raises(FormatError, match="no table of boot-time alternatives"):
        read_alternatives(image_with(many(count)), symbols(), where="some Image")


@pytest.mark.parametrize("size", [0, 4, 64, 5000])
def test_an_image_of_nothing_has_no_table(size: int) -> None:
    for fill in (b"\0", b"\xff", b"\x80"):
        with pytest.raises(FormatError, match="no table"):
            read_alternatives(memoryview(fill * size), symbols(), where="some Image")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (TABLE_AT, TABLE_AT - ENTRY),
        (TABLE_AT, TABLE_AT + ENTRY + 4),
        (TABLE_AT + 2, TABLE_AT + 2 + ENTRY),
        (TABLE_AT, IMAGE_SIZE + ENTRY),
        (-ENTRY, 0),
    ],
)
def test_names_that_bound_no_table_are_refused(start: int, end: int) -> None:
    with pytest.raises(FormatError, match=r"some Image: .*is no table in this Image"):
        read_alternatives(
            image_with(many(3)),
            symbols(__alt_instructions=start, __alt_instructions_end=end),
            where="some Image",
        )


@pytest.mark.parametrize(
    "bad",
    [
        Alternative(-4, 4, 0x2000, 4, 1, callback=False),
        Alternative(IMAGE_SIZE, 4, 0x2000, 4, 1, callback=False),
        Alternative(IMAGE_SIZE - 4, 8, 0x2000, 8, 1, callback=False),
        Alternative(0x1002, 4, 0x2000, 4, 1, callback=False),
        Alternative(0x1000, 4, -4, 4, 1, callback=False),
        Alternative(0x1000, 4, IMAGE_SIZE, 4, 1, callback=False),
        Alternative(0x1000, 4, IMAGE_SIZE + 4, 0, 1, callback=True),
        Alternative(0x1000, 4, 0x2002, 4, 1, callback=False),
        Alternative(0x1000, 6, 0x2000, 6, 1, callback=False),
        Alternative(0x1000, 4, 0x2000, 8, 1, callback=False),
        Alternative(0x1000, 8, 0x2000, 4, 1, callback=False),
    ],
)
def test_an_entry_that_cannot_be_is_named(bad: Alternative) -> None:
    with pytest.raises(FormatError, match=f"some Image: the alternative at {TABLE_AT + 12:#x}"):
        read_alternatives(image_with([REPLACED, bad]), named(2), where="some Image")


def test_too_many_are_refused() -> None:
    size = ENTRY * (MAX_ENTRIES + 1)
    bounds = symbols(__alt_instructions=0, __alt_instructions_end=size)
    with pytest.raises(FormatError, match=f"more than {MAX_ENTRIES}"):
        read_alternatives(memoryview(bytes(size)), bounds)


@settings(max_examples=200)
@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 400))
def test_whatever_is_in_the_image_it_is_read_or_refused(noise: bytes, start: int, end: int) -> None:
    image = memoryview(noise)
    bounds = symbols(__alt_instructions=start, __alt_instructions_end=end)
    for found in (bounds, symbols(), symbols(_einittext=start)):
        with contextlib.suppress(FormatError):
            table = read_alternatives(image, found)
            assert len(table.within(0, len(image))) <= len(table)
