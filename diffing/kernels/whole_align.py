"""Which word of one function is which of the other: a longest common subsequence, bit-parallel.

After M. Crochemore et al., "A fast and practical bit-vector algorithm for the longest common
subsequence problem" (2001): a row of the table of lengths is a row of bits, one for each word of
the left and 0 where the length grows; the next row takes an addition and three logical operations
for 64 of them. It is in whole_align.c beside this (docs/adr/0010): in Python it took longer than
everything else together.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base import native
from relokit.diffing.read.references import Ints, array_places

Partners = npt.NDArray[np.int32]

_ROW_BITS = 64


class _Scratch(ctypes.Structure):
    """``struct align_scratch`` of whole_align.c: working memory, and where it is."""

    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("keys", "numbers", "masks", "rows", "bits", "odd")
    )


class Aligner:
    """Aligns parts of two arrays of codes, which are at least 0, and keeps its working memory.

    ``most_right`` is the longest part of the right, ``most_cells`` the largest product of a part of
    the left, up to the next multiple of 64, and one of the right. Memory is a quarter byte a cell.
    """

    def __init__(self, left: Ints, right: Ints, most_right: int, most_cells: int) -> None:
        self._left, self._right = (np.ascontiguousarray(side, np.int64) for side in (left, right))
        self._keys = np.empty(1 << _table_bits(most_right), np.int64)
        self._numbers = np.empty_like(self._keys)
        self._masks = np.empty(most_cells // _ROW_BITS, np.uint64)
        self._rows = np.empty(most_cells // _ROW_BITS + len(left) // _ROW_BITS + 1, np.uint64)
        self._scratch = _Scratch(
            keys=self._keys.ctypes.data,
            numbers=self._numbers.ctypes.data,
            masks=self._masks.ctypes.data,
            rows=self._rows.ctypes.data,
            odd=secrets.randbits(63) | 1,
        )
        self._at = array_places(self._left, self._right)
        self._align = _native_align()

    def align(self, parts: Sequence[Ints], partner: Partners) -> None:
        """Set ``partner`` of the left's codes where they have one, to numbers of the right's.

        ``parts`` are first codes and numbers of codes of the left, then of the right.
        """
        pieces = [np.ascontiguousarray(part, np.int64) for part in parts]
        first, length, other_first, other_length = array_places(*pieces)
        self._align(
            self._scratch, self._at[0], first, length, self._at[1], other_first, other_length,
            len(pieces[0]), *array_places(partner),
        )  # fmt: skip


@cache
def _native_align() -> Any:
    shared = {"ROW_BITS": _ROW_BITS, "struct align_scratch": ctypes.sizeof(_Scratch)}
    native.check_shared(native.library(), "whole_align_shared", shared)
    pointer = ctypes.c_void_p
    return native.function(
        "whole_align", None, ctypes.POINTER(_Scratch), *[pointer] * 6, ctypes.c_uint64, pointer
    )


def cells(left: Ints, right: Ints) -> Ints:
    """What aligning parts of these lengths takes: bits of each row, times rows."""
    return -(-left // _ROW_BITS) * _ROW_BITS * right


def _table_bits(count: int) -> int:
    """A hash table for ``count`` codes is at most half full, and has two slots for none."""
    return (2 * count | 1).bit_length()


def common_anywhere(left: Sequence[int], right: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of indices of equal codes in any order: what is too large to align is counted so."""
    places: dict[int, list[int]] = {}
    for j in range(len(right) - 1, -1, -1):
        places.setdefault(right[j], []).append(j)
    pairs = []
    for i, code in enumerate(left):
        waiting = places.get(code)
        if waiting:
            pairs.append((i, waiting.pop()))
    return pairs
