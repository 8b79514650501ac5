"""Which word of one kernel is which of the other, function by function."""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base import native
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import SYSTEM
from relokit.diffing.kernels.whole_align import Aligner, Partners, cells, common_anywhere
from relokit.diffing.kernels.whole_data import data_alike
from relokit.diffing.kernels.whole_places import BIAS, TAG_SHIFT, Reference
from relokit.diffing.kernels.whole_text import KernelText
from relokit.diffing.kernels.whole_variables import Variables
from relokit.diffing.progress import Progress
from relokit.diffing.read.references import Flags, Ints, array_places, spans

MAX_CELLS = 1 << 28
"""Left words times right words of one pair of functions: 64 MiB while it is aligned."""
MAX_ALL_CELLS = 1 << 34
"""The same of all pairs together: some seconds. 6.1 against 6.12 has less than 1 << 30."""
BATCH = 1 << 18
"""Words that are held side by side at a time: some 40 bytes each."""
STEP = 512
"""Pairs of functions between two reports of progress."""
STAGE = "Aligning functions"

_LEAST_BITS = 18
"""Of the table of functions that are referred to, at first: for 131,072 places."""


@dataclass(frozen=True, slots=True)
class Match:
    """``same[n]`` says that pair n has equal code; the rest is about the words of other pairs.

    ``partner`` is, by word of the left, the word of the right or -1; ``altered`` are words of
    the left whose partner has another operand, ``data`` those where nothing differs but the data
    that they take. ``unaligned[n]`` says that pair n was too large: equal words are partners
    wherever they are.
    """

    same: Flags
    partner: Partners
    altered: Flags
    unaligned: Flags
    data: Flags


def match_words(left: KernelText, right: KernelText, pairs: Ints, progress: Progress) -> Match:
    """Match the words of each of ``pairs``, rows of a left and a right function's number."""
    ours, theirs = pairs[:, 0], pairs[:, 1]
    extents = _Extents(
        left.starts[ours], left.lengths[ours], right.starts[theirs], right.lengths[theirs]
    )
    variables = Variables(left, right)
    variables.settle(*_beside(left, right, extents))
    same = _same(left, right, extents)
    changed = np.flatnonzero(~same)
    partner = np.full(len(left.words), -1, np.int32)
    unaligned = np.zeros(len(pairs), np.bool_)
    if len(changed):
        extents = extents.chosen(changed)
        shapes = _shapes(left, right)
        rest = _common_ends(*shapes, extents, partner)
        unaligned[changed] = _align(*shapes, rest, partner, progress)
        paired = np.flatnonzero(partner >= 0)
        variables.settle(paired, partner[paired].astype(np.int64))
        altered, data = _altered(left, right, extents, partner)
    else:
        altered = data = np.zeros(len(left.words), np.bool_)
    return Match(same, partner, altered, unaligned, data)


class _PlaceNumbers(ctypes.Structure):
    """``struct place_numbers`` of whole_match.c."""

    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("numbers", ctypes.c_void_p),
        ("bits", ctypes.c_uint64),
        ("odd", ctypes.c_uint64),
        ("count", ctypes.c_int64),
    )


class _ExtentPairs(ctypes.Structure):
    """``struct extent_pairs`` of whole_match.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("left", "left_length", "right", "right_length")),
        ("count", ctypes.c_uint64),
    )


class _MatchedSide(ctypes.Structure):
    """``struct matched_side`` of whole_match.c."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("words", "places", "before"))


_SIDE, _PAIRS = ctypes.POINTER(_MatchedSide), ctypes.POINTER(_ExtentPairs)
_POINTER, _WORD = ctypes.c_void_p, ctypes.c_uint32
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "whole_shapes": (
        ctypes.c_int, _SIDE, ctypes.c_uint64, _WORD, _WORD, ctypes.POINTER(_PlaceNumbers), _POINTER,
    ),
    "whole_ends": (None, _POINTER, _POINTER, _PAIRS, _POINTER),
    "whole_altered": (None, _SIDE, _SIDE, _PAIRS, _POINTER, _POINTER, _POINTER),
}  # fmt: skip


@cache
def _native(name: str) -> Any:
    shared = {
        "TAG_SHIFT": TAG_SHIFT,
        "BIAS": BIAS,
        "INSIDE": Reference.INSIDE,
        "FUNCTION": Reference.FUNCTION,
        "struct place_numbers": ctypes.sizeof(_PlaceNumbers),
        "struct extent_pairs": ctypes.sizeof(_ExtentPairs),
        "struct matched_side": ctypes.sizeof(_MatchedSide),
    }
    native.check_shared(native.library(), "whole_match_shared", shared)
    return native.function(name, *_SIGNATURES[name])


def _side(text: KernelText, room: npt.NDArray[np.uint32]) -> _MatchedSide:
    return _MatchedSide(*array_places(text.words, text.places, room))


@dataclass(frozen=True, slots=True)
class _Extents:
    """First words and numbers of words of functions, or of parts of them, in pairs."""

    left: Ints
    left_length: Ints
    right: Ints
    right_length: Ints

    @property
    def parts(self) -> tuple[Ints, Ints, Ints, Ints]:
        return self.left, self.left_length, self.right, self.right_length

    def chosen(self, which: Ints) -> _Extents:
        return _Extents(*(part[which] for part in self.parts))

    def pairs(self) -> _ExtentPairs:
        """As C has them; they have to be kept."""
        return _ExtentPairs(*array_places(*self.parts), len(self.left))


def _batches(extents: _Extents) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Pairs of as many words on both sides, about BATCH words at a time: which these are, their
    lengths, and the words of the left and of the right.
    """
    which = np.flatnonzero(extents.left_length == extents.right_length)
    ends = np.cumsum(extents.left_length[which])
    cuts = np.unique(np.searchsorted(ends, np.arange(BATCH, ends[-1], BATCH))) if len(ends) else ()
    for some in np.split(which, cuts):
        if len(some):
            lengths = extents.left_length[some]
            ours, theirs = spans(extents.left[some], lengths), spans(extents.right[some], lengths)
            yield some, lengths, ours, theirs


def _beside(left: KernelText, right: KernelText, extents: _Extents) -> tuple[Ints, Ints]:
    """Words that take a variable, of functions that are alike in all but places, and those of the
    others.
    """
    pieces = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for _, lengths, ours, theirs in _batches(extents):
        alike = left.words[ours] == right.words[theirs]
        whole = np.logical_and.reduceat(alike, np.cumsum(lengths) - lengths)
        chosen = np.repeat(whole, lengths)
        chosen &= left.places[ours] >> TAG_SHIFT == Reference.VARIABLE
        pieces.append((ours[chosen], theirs[chosen]))
    ours, theirs = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return ours, theirs


def _same(left: KernelText, right: KernelText, extents: _Extents) -> Flags:
    """Whether both words and what they refer to are equal in all of a pair."""
    same: Flags = np.zeros(len(extents.left), np.bool_)
    taking: list[tuple[Ints, Ints, Ints]] = [(np.empty(0, np.int64),) * 3]
    for some, lengths, ours, theirs in _batches(extents):
        alike = left.words[ours] == right.words[theirs]
        alike &= left.places[ours] == right.places[theirs]
        found = np.logical_and.reduceat(alike, np.cumsum(lengths) - lengths)
        same[some] = found
        # Of what differs anyway, the data is looked at when its words have their partners.
        takes = np.repeat(found, lengths) & (left.targets[ours] >= 0)
        taking.append((np.repeat(some, lengths)[takes], ours[takes], theirs[takes]))
    pairs, ours, theirs = (np.concatenate(parts) for parts in zip(*taking, strict=True))
    same[pairs[~_data_alike(left, right, ours, theirs)]] = False
    return same


def _data_alike(left: KernelText, right: KernelText, ours: Ints, theirs: Ints) -> Flags:
    """Whether words take the same data."""
    return data_alike(left.program, right.program, left.taken(ours), right.taken(theirs))


def _shapes(left: KernelText, right: KernelText) -> tuple[Ints, Ints]:
    """What words are aligned by: a number for each; equal for equal words and functions.

    All references within a function are alike here, all references to data, and System
    instructions whatever their Rt is, unless it is 31: that is zero, or none.
    """
    bits = _LEAST_BITS
    while True:
        keys, numbers = np.full(1 << bits, -1, np.int64), np.empty(1 << bits, np.int64)
        table = _PlaceNumbers(*array_places(keys, numbers), bits, secrets.randbits(63) | 1, 0)
        shapes = np.empty(len(left.words), np.int64), np.empty(len(right.words), np.int64)
        room = np.empty(0, np.uint32)
        if all(
            _native("whole_shapes")(
                _side(text, room), len(found), *SYSTEM, ctypes.byref(table), *array_places(found)
            )
            for text, found in zip((left, right), shapes, strict=True)
        ):
            return shapes
        bits += 2


def _common_ends(left: Ints, right: Ints, extents: _Extents, partner: Partners) -> _Extents:
    """Make partners of what is equal at both ends of each pair; returns what is between them."""
    rest = _Extents(*(part.copy() for part in extents.parts))
    _native("whole_ends")(*array_places(left, right), rest.pairs(), *array_places(partner))
    return rest


def _align(
    left: Ints,
    right: Ints,
    rest: _Extents,
    partner: Partners,
    progress: Progress,
) -> Flags:
    """Make partners of what a longest common subsequence has; returns which were too large."""
    size = cells(rest.left_length, rest.right_length)
    large = size > MAX_CELLS
    # In the order of addresses, as many as fit.
    large |= np.cumsum(np.where(large, 0, size)) > MAX_ALL_CELLS
    jobs = rest.chosen(np.flatnonzero((size > 0) & ~large))
    count = len(jobs.left)
    if count:
        most = cells(jobs.left_length, jobs.right_length).max()
        aligner = Aligner(left, right, int(jobs.right_length.max()), int(most))
        for done in range(0, count, STEP):
            progress(STAGE, done, count)
            aligner.align([part[done : done + STEP] for part in jobs.parts], partner)
    for job in np.flatnonzero(large).tolist():
        first, second = int(rest.left[job]), int(rest.right[job])
        found = common_anywhere(
            left[first : first + int(rest.left_length[job])].tolist(),
            right[second : second + int(rest.right_length[job])].tolist(),
        )
        for i, j in found:
            partner[first + i] = second + j
    progress(STAGE, count, count)
    return large


def _altered(
    left: KernelText, right: KernelText, extents: _Extents, partner: Partners
) -> tuple[Flags, Flags]:
    """Which words of the left are unlike their partners, or refer to something else; and which of
    these take the same place with other data.

    A place in the function itself is the same if the first word at or behind it that has a partner
    is: what is inserted before that is its own difference.
    """
    result: Flags = np.zeros(len(left.words), np.bool_)
    taken = np.zeros(len(right.words), np.bool_)
    longest = int(max(extents.left_length.max(), extents.right_length.max()))
    rooms = np.empty((2, longest + 1), np.uint32)
    _native("whole_altered")(
        _side(left, rooms[0]), _side(right, rooms[1]), extents.pairs(),
        *array_places(partner, taken, result),
    )  # fmt: skip
    taking = np.flatnonzero((partner >= 0) & ~result & (left.targets >= 0))
    data: Flags = np.zeros(len(left.words), np.bool_)
    data[taking] = ~_data_alike(left, right, taking, partner[taking].astype(np.int64))
    return result | data, data
