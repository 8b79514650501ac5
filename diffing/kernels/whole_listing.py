"""What differs in each function of two whole kernels, line by line: from the match of their words.

A comparison of two routines renames registers, knows fields and finds what has moved, and takes a
second for a large one. Here nothing is compared again: an instruction that has no counterpart is
deleted or inserted, one that has another operand is both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import field

import numpy as np

from relokit.codegen.base.errors import one_line
from relokit.codegen.base.nouns import dataclass
from relokit.diffing.kernels.whole_ignored import IgnoredWords
from relokit.diffing.kernels.whole_match import Match
from relokit.diffing.kernels.whole_spelling import Spelling
from relokit.diffing.kernels.whole_text import KernelText
from relokit.diffing.read.references import Flags, Ints
from relokit.diffing.routines.classify import WEIGHT, ChangeKind
from relokit.diffing.routines.report import CONTEXT


@dataclass(frozen=True, slots=True)
class MatchedKernels:
    """Two kernels with their words matched. ``functions`` has a row for each function that differs,
    its number on the left and on the right, -1 where a side has it not. ``names`` are those that
    both kernels have numbers for.
    """

    left: KernelText = field(repr=False)
    right: KernelText = field(repr=False)
    match: Match = field(repr=False)
    ignored: IgnoredWords = field(repr=False)
    functions: Ints = field(repr=False)
    names: list[str] = field(repr=False)


_Row = tuple[int, int, bool]
"""Numbers of words, -1 for none, and whether it is a difference that counts."""
TOO_LARGE = "too large to be aligned: its instructions were only counted"


class WholeListing:
    """The differences of ``kinds`` in functions of ``matched``, which are ``chosen`` rows of it."""

    def __init__(
        self, matched: MatchedKernels, kinds: Collection[ChangeKind], chosen: Ints
    ) -> None:
        self._matched = matched
        self._unaligned = {*np.flatnonzero(matched.match.unaligned[~matched.match.same]).tolist()}
        left, right, match = matched.left, matched.right, matched.match
        has = match.partner >= 0
        taken = np.zeros(len(right.words), np.bool_)
        taken[match.partner[has]] = True
        self._counts = (
            (~has & ~matched.ignored.left | match.altered) & _of(left, kinds, match.data),
            ~taken & ~matched.ignored.right & _of(right, kinds),
        )
        ours, theirs = matched.functions[chosen].T
        self._spelt = (
            Spelling(left, ours[ours >= 0], matched.names),
            Spelling(right, theirs[theirs >= 0], matched.names),
        )

    def length(self, row: int) -> int:
        """How many lines the differences of a function are."""
        total = 0
        for hunk in self._hunks(row):
            total += 1 + len(hunk)
            total += sum(counts and i >= 0 and j >= 0 for i, j, counts in hunk)
        return total or 1

    def lines(self, row: int, most: int) -> list[str]:
        """The first lines of these, at most so many: as ``diff -u`` has them, offsets in bytes."""
        if row in self._unaligned:
            return [TOO_LARGE]
        found: list[str] = []
        for hunk in self._hunks(row):
            room = most - len(found) - 1
            if room <= 0:
                break
            found += self._told(row, hunk, hunk[:room])
        return [one_line(line) for line in found[:most]]

    def _hunks(self, row: int) -> Iterator[list[_Row]]:
        """Runs of differences with what is around them, joined where they meet."""
        if row in self._unaligned:
            return
        rows = [*self._rows(*self._matched.functions[row].tolist())]
        start = end = 0
        for at, (_, _, counts) in enumerate(rows):
            if not counts:
                continue
            if not end or at - CONTEXT > end:
                if end:
                    yield rows[start:end]
                start = max(at - CONTEXT, 0)
            end = min(at + 1 + CONTEXT, len(rows))
        if end:
            yield rows[start:end]

    def _rows(self, ours: int, theirs: int) -> Iterator[_Row]:
        """All words of a function, deleted ones before those that are inserted there."""
        left, right, match = self._matched.left, self._matched.right, self._matched.match
        first, last = _words(left, ours)
        at, end = _words(right, theirs)
        inserted = self._counts[1][at:end].tolist()
        base = at
        partners = match.partner[first:last].tolist()
        counted = self._counts[0][first:last].tolist()
        for number, to, counts in zip(range(first, last), partners, counted, strict=True):
            if to < 0:
                yield number, -1, counts
                continue
            while at < to:
                yield -1, at, inserted[at - base]
                at += 1
            yield number, to, counts
            at += 1
        while at < end:
            yield -1, at, inserted[at - base]
            at += 1

    def _told(self, row: int, hunk: list[_Row], some: list[_Row]) -> Iterator[str]:
        functions = self._matched.functions[row].tolist()
        columns = [[one[side] for one in hunk if one[side] >= 0] for side in (0, 1)]
        places = [
            f"{spelt.offset(function, column[0]):#x},{len(column)}" if column else "0x0,0"
            for spelt, function, column in zip(self._spelt, functions, columns, strict=True)
        ]
        yield f"@@ -{places[0]} +{places[1]} @@"
        ours, theirs = (
            spelt.texts(function, [one[side] for one in some if one[side] >= 0])
            for side, (spelt, function) in enumerate(zip(self._spelt, functions, strict=True))
        )
        for i, j, counts in some:
            if i < 0 or j < 0:
                text, sign, side = (ours[i], "-", "left") if j < 0 else (theirs[j], "+", "right")
                yield f"{sign}{text}" if counts else f" {text}  // only on the {side}"
            elif counts:
                remark = ""
                if ours[i] == theirs[j]:
                    data = self._matched.match.data[i]
                    remark = "  // other data" if data else "  // another place"
                yield f"-{ours[i]}{remark}"
                yield f"+{theirs[j]}{remark}"
            else:
                yield f" {theirs[j]}"


def _words(text: KernelText, function: int) -> tuple[int, int]:
    """A function's first word and the one behind its last; none of none."""
    if function < 0:
        return 0, 0
    first = int(text.starts[function])
    return first, first + int(text.lengths[function])


def _of(text: KernelText, kinds: Collection[ChangeKind], data: Flags | None = None) -> Flags:
    """Which words differ in one of ``kinds`` if they do; of ``data`` words, that is what does."""
    if len(kinds) == len(ChangeKind):
        return np.ones(len(text.words), np.bool_)
    found = text.kinds_of(np.arange(len(text.words)))
    if data is not None:
        found[data] = WEIGHT.index(ChangeKind.DATA)
    wanted: Flags = np.isin(found, [WEIGHT.index(kind) for kind in kinds])
    return wanted


def fair(lengths: Ints, total: int) -> int:
    """The most lines that each may have so that all together are at most ``total``; those that have
    fewer leave room to the others.
    """
    ordered = np.sort(lengths)
    before = np.concatenate([[0], np.cumsum(ordered)])
    rest = len(ordered) - np.arange(len(ordered))
    # If the n shortest are whole and all others are as long as the next one.
    fitting = np.flatnonzero(before[:-1] + ordered * rest <= total)
    whole = int(fitting[-1]) + 1 if len(fitting) else 0
    if whole == len(ordered):
        return int(ordered[-1]) if whole else 0
    return max(0, int(total - before[whole])) // (len(ordered) - whole)
