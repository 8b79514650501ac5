"""Pointers of an Image, stored or relocated, against a reading of them one by one."""

from __future__ import annotations

import struct
from array import array

from hypothesis import given
from hypothesis import strategies as st

from relokit.diffing.read.kernel_data import with_pointers
from relokit.linker.kernel.pointers import LINK_ALIGN, RELATIVE, Pointers, voted_base

BASE = 0xFFFF_8000_0800_0000
SIZE = 0x400
PLACES = st.integers(-2, SIZE // 8).map(lambda number: 8 * number)
ENTRIES = st.lists(st.tuples(PLACES, st.integers(-16, SIZE)), max_size=8)
STORED = st.lists(st.tuples(st.integers(0, 15), st.integers(0, SIZE)), max_size=8)


def image_of(stored: list[tuple[int, int]], entries: list[tuple[int, int]]) -> bytes:
    """Pointers in the first 16 words, and relocations from half the Image on, in any order."""
    image = bytearray(SIZE)
    for number, target in stored:
        struct.pack_into("<Q", image, 8 * number, BASE + target)
    for row, (place, target) in enumerate(entries):
        where = SIZE // 2 + 24 * row
        struct.pack_into("<QQQ", image, where, BASE + place, RELATIVE, BASE + target)
    return bytes(image)


def relocated(image: bytes) -> list[tuple[int, int]]:
    """Place and target of each relocation, as offsets."""
    words = struct.unpack(f"<{SIZE // 8}Q", image)
    return [
        (words[at - 1] - BASE, words[at + 1] - BASE)
        for at in range(1, len(words) - 1)
        if words[at] == RELATIVE
    ]


@given(STORED, ENTRIES)
def test_a_pointer_is_what_its_relocation_says_or_what_is_stored(
    stored: list[tuple[int, int]], entries: list[tuple[int, int]]
) -> None:
    image = image_of(stored, entries)
    pointers = Pointers(memoryview(image), BASE)
    # Of two for one place the first counts.
    known = dict(reversed(relocated(image)))
    for place in range(-8, SIZE + 16, 8):
        if not 0 <= place <= SIZE - 8:
            assert pointers.at(place) == -1
        else:
            (word,) = struct.unpack_from("<Q", image, place)
            assert pointers.at(place) == known.get(place, word - BASE)


@given(STORED, ENTRIES, st.integers(0, SIZE))
def test_pointers_to_a_place_are_all_found(
    stored: list[tuple[int, int]], entries: list[tuple[int, int]], target: int
) -> None:
    image = image_of(stored, entries)
    found = Pointers(memoryview(image), BASE).to(target, 100)
    words = struct.unpack(f"<{SIZE // 8}Q", image)
    held = [8 * at for at, word in enumerate(words) if word == BASE + target]
    beside = sorted(at for at, to in relocated(image) if to == target and 0 <= at < SIZE)
    assert found == held + beside
    assert Pointers(memoryview(image), BASE).to(target, 1) == found[:1]


@given(STORED, ENTRIES)
def test_relocations_are_put_where_they_belong(
    stored: list[tuple[int, int]], entries: list[tuple[int, int]]
) -> None:
    image = image_of(stored, entries)
    expected = bytearray(image)
    for place, target in relocated(image):
        if 0 <= place <= SIZE - 8 and target >= 0:
            struct.pack_into("<Q", expected, place, BASE + target)
    assert with_pointers(memoryview(image), BASE) == expected


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=40, unique=True),
    st.integers(-2, 2),
    st.lists(st.integers(0, 3 * LINK_ALIGN // 8), max_size=20),
)
def test_the_base_with_most_votes_wins(symbols: list[int], moved: int, others: list[int]) -> None:
    offsets = array("q", sorted(LINK_ALIGN // 2 + 4 * at for at in symbols))
    base = BASE + moved * LINK_ALIGN
    addresses = [base + at for at in offsets] + [BASE + 8 * at + 1 for at in others]
    image = struct.pack(f"<{len(addresses)}Q", *addresses)

    def votes(one: int) -> int:
        return len({address for address in addresses if address - one in set(offsets)})

    found = voted_base(memoryview(image), offsets)
    assert found is not None
    assert votes(found) == len(symbols) == votes(base)
    assert voted_base(memoryview(bytes(64)), offsets) is None
