"""Which word of one kernel is which of the other, function by function."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import SYSTEM
from relokit.diffing.kernels.whole_align import Aligner, cells, common_anywhere
from relokit.diffing.kernels.whole_data import data_alike
from relokit.diffing.kernels.whole_places import TAG_SHIFT, Reference, inside_distance
from relokit.diffing.kernels.whole_text import KernelText
from relokit.diffing.kernels.whole_variables import Variables
from relokit.diffing.progress import Progress
from relokit.diffing.read.references import Flags, Ints, spans

MAX_CELLS = 1 << 28
"""Left words times right words of one pair of functions: 64 MiB while it is aligned."""
MAX_ALL_CELLS = 1 << 34
"""The same of all pairs together: some seconds. 6.1 against 6.12 has less than 1 << 30."""
STEP = 512
"""Pairs of functions between two reports of progress."""
STAGE = "Aligning functions"

_RT = np.uint32(31)
_SHAPE_SHIFT = 32
_DATA_SHAPE = 3
_FIRST_FUNCTION_SHAPE = 4


@dataclass(frozen=True, slots=True)
class Match:
    """``same[n]`` says that pair n has equal code; the rest is about the words of other pairs.

    ``partner`` is, by word of the left, the word of the right or -1; ``altered`` are words of
    the left whose partner has another operand, ``data`` those where nothing differs but the data
    that they take. ``unaligned[n]`` says that pair n was too
    large: equal words are partners wherever they are.
    """

    same: Flags
    partner: npt.NDArray[np.int32]
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


@dataclass(frozen=True, slots=True)
class _Extents:
    """First words and numbers of words of functions, or of parts of them, in pairs."""

    left: Ints
    left_length: Ints
    right: Ints
    right_length: Ints

    def chosen(self, which: Ints) -> _Extents:
        return _Extents(
            self.left[which], self.left_length[which], self.right[which], self.right_length[which]
        )


def _beside(left: KernelText, right: KernelText, extents: _Extents) -> tuple[Ints, Ints]:
    """Words of functions that are alike in all but places, and those of the others."""
    which = np.flatnonzero(extents.left_length == extents.right_length)
    lengths = extents.left_length[which]
    ours, theirs = spans(extents.left[which], lengths), spans(extents.right[which], lengths)
    if not len(which):
        return ours, theirs
    alike = left.words[ours] == right.words[theirs]
    whole = np.logical_and.reduceat(alike, np.cumsum(lengths) - lengths)
    chosen = np.repeat(whole, lengths)
    return ours[chosen], theirs[chosen]


def _same(left: KernelText, right: KernelText, extents: _Extents) -> Flags:
    """Whether both words and what they refer to are equal in all of a pair."""
    same: Flags = np.zeros(len(extents.left), np.bool_)
    which = np.flatnonzero(extents.left_length == extents.right_length)
    if len(which):
        lengths = extents.left_length[which]
        ours, theirs = spans(extents.left[which], lengths), spans(extents.right[which], lengths)
        alike = left.words[ours] == right.words[theirs]
        alike &= left.places[ours] == right.places[theirs]
        firsts = np.cumsum(lengths) - lengths
        found = np.logical_and.reduceat(alike, firsts)
        # Of what differs anyway, the data is looked at when its words have their partners.
        taking = np.repeat(found, lengths) & (left.targets[ours] >= 0)
        alike[taking] = _data_alike(left, right, ours[taking], theirs[taking])
        same[which] = np.logical_and.reduceat(alike, firsts)
    return same


def _data_alike(left: KernelText, right: KernelText, ours: Ints, theirs: Ints) -> Flags:
    """Whether words take the same data."""
    return data_alike(left.program, right.program, left.taken(ours), right.taken(theirs))


def _shapes(left: KernelText, right: KernelText) -> tuple[Ints, Ints]:
    """What words are aligned by: a number for each; equal for equal words and functions.

    All references within a function are alike here, all references to data, and System
    instructions whatever their Rt is, unless it is 31: that is zero, or none.
    """
    tags = [text.places >> TAG_SHIFT for text in (left, right)]
    calls = [np.flatnonzero(tag == Reference.FUNCTION) for tag in tags]
    _, numbers = np.unique(
        np.concatenate([left.places[calls[0]], right.places[calls[1]]]), return_inverse=True
    )
    result = []
    for text, tag, at, number in (
        (left, tags[0], calls[0], numbers[: len(calls[0])]),
        (right, tags[1], calls[1], numbers[len(calls[0]) :]),
    ):
        shape = np.minimum(tag, _DATA_SHAPE)
        shape[at] = _FIRST_FUNCTION_SHAPE + number
        words = text.words.copy()
        system = np.flatnonzero((words & np.uint32(SYSTEM.mask)) == SYSTEM.value)
        system = system[words[system] & _RT != _RT]
        words[system] &= ~_RT
        result.append(shape << _SHAPE_SHIFT | words)
    return result[0], result[1]


def _common_ends(
    left: Ints, right: Ints, extents: _Extents, partner: npt.NDArray[np.int32]
) -> _Extents:
    """Make partners of what is equal at both ends of each pair; returns what is between them."""
    shorter = np.minimum(extents.left_length, extents.right_length)
    firsts = np.cumsum(shorter) - shorter
    numbers = spans(np.zeros_like(shorter), shorter)
    ours, theirs = np.repeat(extents.left, shorter), np.repeat(extents.right, shorter)
    unlike = left[ours + numbers] != right[theirs + numbers]
    beyond = np.repeat(shorter, shorter)
    prefix = np.minimum.reduceat(np.where(unlike, numbers, beyond), firsts)
    ours += np.repeat(extents.left_length, shorter) - 1
    theirs += np.repeat(extents.right_length, shorter) - 1
    unlike = left[ours - numbers] != right[theirs - numbers]
    suffix = np.minimum.reduceat(np.where(unlike, numbers, beyond), firsts)
    suffix = np.minimum(suffix, shorter - prefix)
    partner[spans(extents.left, prefix)] = spans(extents.right, prefix)
    left_end = extents.left + extents.left_length - suffix
    right_end = extents.right + extents.right_length - suffix
    partner[spans(left_end, suffix)] = spans(right_end, suffix)
    left_start, right_start = extents.left + prefix, extents.right + prefix
    return _Extents(left_start, left_end - left_start, right_start, right_end - right_start)


def _align(
    left: Ints,
    right: Ints,
    rest: _Extents,
    partner: npt.NDArray[np.int32],
    progress: Progress,
) -> Flags:
    """Make partners of what a longest common subsequence has; returns which were too large."""
    size = cells(rest.left_length, rest.right_length)
    large = size > MAX_CELLS
    # In the order of addresses, as many as fit.
    large |= np.cumsum(np.where(large, 0, size)) > MAX_ALL_CELLS
    jobs = np.flatnonzero((size > 0) & ~large)
    if len(jobs):
        aligner = Aligner(left, right, int(rest.right_length[jobs].max()), int(size[jobs].max()))
        parts = zip(
            rest.left[jobs].tolist(),
            rest.left_length[jobs].tolist(),
            rest.right[jobs].tolist(),
            rest.right_length[jobs].tolist(),
            strict=True,
        )
        for done, part in enumerate(parts):
            if not done % STEP:
                progress(STAGE, done, len(jobs))
            aligner.align(*part, partner)
    for job in np.flatnonzero(large).tolist():
        first, second = int(rest.left[job]), int(rest.right[job])
        found = common_anywhere(
            left[first : first + int(rest.left_length[job])].tolist(),
            right[second : second + int(rest.right_length[job])].tolist(),
        )
        for i, j in found:
            partner[first + i] = second + j
    progress(STAGE, len(jobs), len(jobs))
    return large


def _altered(
    left: KernelText, right: KernelText, extents: _Extents, partner: npt.NDArray[np.int32]
) -> tuple[Flags, Flags]:
    """Which words of the left are unlike their partners, or refer to something else; and which of
    these take the same place with other data.

    A place in the function itself is the same if the first word at or behind it that has a partner
    is: what is inserted before that is its own difference.
    """
    result: Flags = np.zeros(len(left.words), np.bool_)
    ours = spans(extents.left, extents.left_length)
    starts = np.repeat(extents.left, extents.left_length)
    other_starts = np.repeat(extents.right, extents.left_length)
    has = partner[ours] >= 0
    ours, starts, other_starts = ours[has], starts[has], other_starts[has]
    theirs = partner[ours]
    places, other_places = left.places[ours], right.places[theirs]
    unlike = left.words[ours] != right.words[theirs]
    result[ours] = unlike | (places != other_places)
    here = np.flatnonzero(places >> TAG_SHIFT == Reference.INSIDE)
    orders = []
    for has_partner, at, start, place in (
        (partner >= 0, ours, starts, places),
        (_flags(len(right.words), theirs), theirs, other_starts, other_places),
    ):
        before = np.concatenate([[0], np.cumsum(has_partner)])
        target = at[here] + inside_distance(place[here])
        orders.append(before[target] - before[start[here]])
    result[ours[here]] = unlike[here] | (orders[0] != orders[1])
    taking = np.flatnonzero(~result[ours] & (left.targets[ours] >= 0))
    data: Flags = np.zeros(len(left.words), np.bool_)
    data[ours[taking]] = ~_data_alike(left, right, ours[taking], theirs[taking].astype(np.int64))
    return result | data, data


def _flags(size: int, which: npt.NDArray[np.int32]) -> Flags:
    flags: Flags = np.zeros(size, np.bool_)
    flags[which] = True
    return flags
