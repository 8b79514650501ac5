"""Names out of a kernel's table, found one by one, against the same names in a list."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.diffing.read.data import Area, SideData
from relokit.diffing.read.kernel_data import CODE_LETTERS, kernel_data
from relokit.diffing.read.kernel_side import LinkedNames
from relokit.diffing.read.routine import Names
from relokit.linker.kernel.kallsyms import Kallsyms

BASE = 0xFFFF_8000_0800_0000
SIZE = 0x400
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "_a", "__a", "b", "long_name", "é"]),
        st.sampled_from("tTdDbA"),
        st.integers(0, SIZE).map(lambda at: at & ~7),
    ),
    max_size=20,
).map(lambda rows: sorted(rows, key=lambda row: row[2]))


@given(ROWS, st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["own", "_own"])), max_size=3))
def test_an_address_has_the_name_it_has_in_a_list(
    rows: list[tuple[str, str, int]], own: list[tuple[int, str]]
) -> None:
    listed = [(BASE + at, name) for name, _, at in rows]
    own = [(BASE + 8 * at, name) for at, name in own]
    found = Names(own, table=LinkedNames(Kallsyms.of(rows, BASE)))
    expected = Names([*listed, *own])
    for at in range(-8, SIZE + 16, 4):
        assert found.name(BASE + at) == expected.name(BASE + at)


@given(ROWS)
def test_data_of_a_kernel_is_that_of_a_list(rows: list[tuple[str, str, int]]) -> None:
    start, end = 0x100, 0x200
    rows = sorted([*rows, ("_etext", "t", start), ("__init_begin", "t", end)],
                  key=lambda row: row[2])  # fmt: skip
    image = memoryview(struct.pack(f"<{SIZE // 4}I", *range(SIZE // 4)))
    found = kernel_data(image, Kallsyms.of(rows, BASE))
    expected = SideData(
        [
            Area("constant data", BASE + start, end - start, image[start:end]),
            Area("data", BASE + end, SIZE - end, image[end:], writable=True),
        ],
        [(BASE + at, 0, name) for name, letter, at in rows if letter not in CODE_LETTERS],
    )
    for at in range(-8, SIZE + 16, 4):
        address = BASE + at
        assert found.named_at(address) == expected.named_at(address)
        one, other = found.at(address), expected.at(address)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert (one.address, one.size, one.name) == (other.address, other.size, other.name)
            assert one.content == other.content


@pytest.mark.parametrize("name", ["nosuch", "\u0416", "a\0b", ""])
def test_a_name_that_is_not_there(name: str) -> None:
    symbols = Kallsyms.of([("a", "T", 0), ("b", "T", 8)], BASE)
    assert name not in symbols
    assert symbols.offsets_of(name) == ()
    with pytest.raises(KeyError):
        symbols.offset(name)
