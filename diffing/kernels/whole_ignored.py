"""What differs between two kernels and does not count, because it was asked to be ignored.

Offsets are taken out of words and places before these are matched, so that what is at another one
is matched all the same; the others are left out of what has no match. Of functions that only one
side has, nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, replace

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.diffing.instructions.ignorable import (
    Ignorable,
    leaves,
    without_offsets,
    words_of,
)
from relokit.diffing.kernels.whole_match import Match
from relokit.diffing.kernels.whole_places import NAME_SHIFT, TAG_SHIFT, Reference
from relokit.diffing.kernels.whole_text import KernelText
from relokit.diffing.read.references import Flags, Ints, spans
from relokit.diffing.routines.classify import WEIGHT, ChangeKind


@dataclass(frozen=True, slots=True)
class IgnoredWords:
    """Words of the left and the right without a match that do not count, and how many differences
    do not, by what they are. ``functions`` are the left's with one of them.
    """

    left: Flags = field(repr=False)
    right: Flags = field(repr=False)
    counts: Mapping[Ignorable, int]
    functions: Ints = field(repr=False)


def blurred(text: KernelText) -> KernelText:
    """``text`` with 0 for the offsets of members, and the distances from symbols of data."""
    tags = text.places >> TAG_SHIFT
    words, places = text.words.copy(), text.places.copy()
    plain = tags == Reference.NONE
    words[plain] = without_offsets(words[plain])
    named = _named(text)
    places[named] = places[named] >> NAME_SHIFT << NAME_SHIFT
    return replace(text, words=words, places=places)


def _named(text: KernelText) -> Ints:
    """Words that take or access a place by a symbol."""
    tags = text.places >> TAG_SHIFT
    found = np.flatnonzero((tags == Reference.FUNCTION) | (tags == Reference.DATA))
    taking: Ints = found[~leaves(text.raw[found])]
    return taking


def ignored_words(
    left: KernelText,
    right: KernelText,
    pairs: Ints,
    match: Match,
    ignore: Collection[Ignorable],
    kinds: Collection[ChangeKind],
) -> IgnoredWords:
    """What of ``match``, which is of the blurred texts where offsets are ignored, does not count.

    ``pairs`` are rows of a left and a right function's number; texts are as they were read.
    """
    has = match.partner >= 0
    taken = np.zeros(len(right.words), np.bool_)
    taken[match.partner[has]] = True
    changed = pairs[~match.same]
    counts: dict[Ignorable, int] = {}
    lone = np.zeros(len(left.words), np.bool_), np.zeros(len(right.words), np.bool_)
    functions: list[Ints] = []
    partners = np.full(len(right.names), -1)
    partners[changed[:, 1]] = changed[:, 0]
    for kind in (one for one in Ignorable if one in ignore):
        if kind is Ignorable.OFFSETS:
            at = _other_offsets(left, right, pairs, match)
            at = at[_wanted(left, at, kinds)]
            counts[kind] = len(at)
            functions.append(left.functions_of(at))
            continue
        counts[kind] = 0
        for side, (text, matched) in enumerate(((left, has), (right, taken))):
            at = np.flatnonzero(words_of(text.raw, kind) & ~matched)
            at = at[text.places[at] >> TAG_SHIFT != Reference.LITERAL]
            owner = text.functions_of(at)
            at, owner = at[owner >= 0], owner[owner >= 0]
            owner = partners[owner] if side else np.where(np.isin(owner, changed[:, 0]), owner, -1)
            which = (owner >= 0) & _wanted(text, at, kinds)
            lone[side][at[which]] = True
            counts[kind] += int(which.sum())
            functions.append(owner[which])
    return IgnoredWords(
        *lone, counts, np.unique(np.concatenate([*functions, np.empty(0, np.int64)]))
    )


def _wanted(text: KernelText, words: Ints, kinds: Collection[ChangeKind]) -> Flags:
    """Which of the words are of a kind that was asked for."""
    found: Flags = np.isin(text.kinds_of(words), [WEIGHT.index(kind) for kind in kinds])
    return found


def _other_offsets(left: KernelText, right: KernelText, pairs: Ints, match: Match) -> Ints:
    """Words of the left that are as their partners but for an offset, ascending."""
    same = pairs[match.same]
    lengths = left.lengths[same[:, 0]]
    # What is taken to be the same has its partners in its place.
    ours = spans(left.starts[same[:, 0]], lengths)
    theirs = spans(right.starts[same[:, 1]], lengths)
    matched = np.flatnonzero((match.partner >= 0) & ~match.altered)
    ours = np.concatenate([ours, matched])
    theirs = np.concatenate([theirs, match.partner[matched].astype(np.int64)])
    tags = left.places[ours] >> TAG_SHIFT
    named = (tags == Reference.FUNCTION) | (tags == Reference.DATA)
    unlike = named & (left.places[ours] != right.places[theirs])
    plain = (tags == Reference.NONE) & (left.words[ours] != right.words[theirs])
    return np.sort(ours[unlike | plain])
