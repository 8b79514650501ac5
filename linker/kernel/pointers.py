"""Pointers of an Image: stored, or in its relocations; by native code (pointers.c)."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from ctypes import c_int, c_uint64, c_void_p

from relokit.codegen.base import native
from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.budget import spend
from relokit.linker.kernel.kernel_file import MAX_IMAGE

LOWEST_VA = 0xFFF0 << 48
"""Kernel VAs have their top 12 bits set with up to 52 bits of VA."""
HIGHEST_VA = (1 << 64) - MAX_IMAGE
"""A kernel that is linked above would not end within the address space; ~0 is no pointer."""
LINK_ALIGN = 2 << 20
"""KIMAGE_VADDR, the VA of an Image's first byte, is a multiple of this (asm/memory.h)."""
SAMPLE = 8192
"""Pointers of an Image that vote for where it is linked, at least, where it has as many."""
MAX_BASES = 64
"""Multiples of LINK_ALIGN that are voted for: those that the most pointers are above."""
RELATIVE = 0x403
"""R_AARCH64_RELATIVE (ELF for the Arm 64-bit Architecture, 5.7.16)."""
RELOCATED_BYTES = 32
"""A place and a value, and both once more if they are sorted."""
MAX_RELATIVE = 1 << 22
"""Relocations of an Image that are looked at; shipped kernels have some 300,000."""
_WORD = 8


def voted_base(image: memoryview, offsets: array[int]) -> int | None:
    """The VA of the Image's first byte by which the most pointers in it are addresses of symbols.

    ``offsets`` of these are from there, ascending. None where no pointer is.
    """
    collect = native.function(
        "pointers_sample", c_uint64, c_void_p, c_uint64, c_uint64, c_uint64, c_uint64, c_void_p
    )
    words = native.place(image), len(image) // _WORD
    count = collect(*words, LOWEST_VA, HIGHEST_VA, 1, None)
    # An odd step: relocations alternate between the place and the address to put there.
    step = count // SAMPLE | 1
    sample = _words(-(-count // step))
    collect(*words, LOWEST_VA, HIGHEST_VA, step, native.place(sample))
    pointers = array("Q", sorted(set(sample)))
    above = Counter(pointer // LINK_ALIGN * LINK_ALIGN for pointer in pointers)
    bases = sorted(sorted(above), key=lambda base: -above[base])
    vote = native.function(
        "pointers_votes", c_uint64, c_void_p, c_uint64, c_uint64, c_void_p, c_uint64
    )
    best, most = None, 0
    for base in bases[:MAX_BASES]:
        votes = vote(
            native.place(pointers), len(pointers), base, native.place(offsets), len(offsets)
        )
        if votes > most:
            best, most = base, votes
    return best


class Pointers:
    """Pointers of an Image as offsets in it: stored, or in RELA beside the place they go to.

    ``base`` is the VA of its first byte.
    """

    def __init__(self, image: memoryview, base: int) -> None:
        self._image, self._base, self._count = image, base, len(image) // _WORD
        collect = native.function(
            "pointers_relocated", c_uint64, c_void_p, c_uint64, c_uint64, c_uint64, c_uint64,
            c_uint64, c_void_p, c_void_p,
        )  # fmt: skip
        first, last = base & MASK64, base + _WORD * self._count & MASK64
        words = native.place(image), self._count, RELATIVE, first, last
        count = min(collect(*words, 0, None, None), MAX_RELATIVE)
        spend(RELOCATED_BYTES * count, "relocations of kernels")
        places, values = _words(count), _words(count)
        collect(*words, count, native.place(places), native.place(values))
        ascend = native.function("pointers_ascend", c_int, c_void_p, c_uint64)
        if not ascend(native.place(places), count):
            order = sorted(range(count), key=places.__getitem__)
            places = array("Q", map(places.__getitem__, order))
            values = array("Q", map(values.__getitem__, order))
        self._places, self._values = places, values

    def at(self, place: int) -> int:
        """What the pointer at offset ``place`` points to; -1 if there is none."""
        if not 0 <= place <= _WORD * (self._count - 1):
            return -1
        address = self._base + place & MASK64
        found = bisect_left(self._places, address)
        if found < len(self._places) and self._places[found] == address:
            return self._values[found] - self._base
        start = place // _WORD * _WORD
        return int.from_bytes(self._image[start : start + _WORD], "little") - self._base

    def to(self, offset: int, most: int) -> list[int]:
        """Offsets of the first ``most`` pointers to ``offset``: stored ones, then the others."""
        equal = native.function(
            "pointers_equal", c_uint64, c_void_p, c_uint64, c_uint64, c_uint64, c_void_p
        )
        address = self._base + offset & MASK64
        numbers = _words(most)
        count = equal(native.place(self._image), self._count, address, most, native.place(numbers))
        stored = [_WORD * number for number in numbers[: min(count, most)]]
        count = equal(
            native.place(self._values), len(self._values), address, most, native.place(numbers)
        )
        beside = (self._places[at] - self._base for at in numbers[: min(count, most)])
        return [*stored, *(place for place in beside if place % _WORD == 0)][:most]


def _words(count: int) -> array[int]:
    return array("Q", bytes(_WORD * count))
