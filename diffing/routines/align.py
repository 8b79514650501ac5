"""Which instruction of one side is which of the other: an alignment, bounded in cost.

Equal ends are matched first, then what is unique on both sides and in the same order (patience),
then, between those, the alignment of the highest score.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from relokit.codegen.base.nouns import dataclass

Pair = tuple[int, int]
Score = Callable[[int, int], int]
"""How well instruction i of the left is instruction j of the right; 0 means not at all."""

MAX_CELLS = 1 << 22
"""Pairs of instructions that are scored in one diff, some seconds of work."""
MAX_DEPTH = 32
"""How often what lies between unique matches is searched for more of them."""


@dataclass(slots=True)
class CellBudget:
    """What the routines of one diff may cost together; hostile ones could ask for hours."""

    cells: int = MAX_CELLS


def align(
    left: Sequence[object], right: Sequence[object], score: Score, budget: CellBudget
) -> list[Pair]:
    """Pairs of indices, ascending on both sides. Equal elements must score highest.

    Where ``budget`` does not do for what lies between unique matches, what is left there is paired
    by position as far as it is equal.
    """
    pairs: list[Pair] = []
    work = [(0, len(left), 0, len(right), 0)]
    while work:
        low, high, first, last, depth = work.pop()
        while low < high and first < last and left[low] == right[first]:
            pairs.append((low, first))
            low, first = low + 1, first + 1
        while low < high and first < last and left[high - 1] == right[last - 1]:
            high, last = high - 1, last - 1
            pairs.append((high, last))
        cells = (high - low) * (last - first)
        if not cells:
            continue
        deep = depth >= MAX_DEPTH
        anchors = [] if deep else _patience(left, right, low, high, first, last)
        if anchors:
            bounds = [(low - 1, first - 1), *anchors, (high, last)]
            pairs += anchors
            for (a, b), (c, d) in pairwise(bounds):
                work.append((a + 1, c, b + 1, d, depth + 1))
        elif cells <= budget.cells:
            budget.cells -= cells
            pairs += _best(low, high, first, last, score)
        else:
            both = zip(range(low, high), range(first, last), strict=False)
            pairs += [(i, j) for i, j in both if left[i] == right[j]]
    return sorted(pairs)


def _patience(
    left: Sequence[object], right: Sequence[object], low: int, high: int, first: int, last: int
) -> list[Pair]:
    """The longest ascending run of pairs of elements that occur once on either side."""
    here, there = Counter(left[low:high]), Counter(right[first:last])
    places = {right[j]: j for j in range(first, last)}
    tops: list[int] = []
    heads: list[Pair] = []
    before: dict[Pair, Pair | None] = {}
    for i in range(low, high):
        item = left[i]
        if here[item] != 1 or there.get(item) != 1:
            continue
        j = places[item]
        at = bisect_left(tops, j)
        pair = (i, j)
        before[pair] = heads[at - 1] if at else None
        tops[at : at + 1] = [j]
        heads[at : at + 1] = [pair]
    run: list[Pair] = []
    pair_or_none = heads[-1] if heads else None
    while pair_or_none is not None:
        run.append(pair_or_none)
        pair_or_none = before[pair_or_none]
    return run[::-1]


def _best(low: int, high: int, first: int, last: int, score: Score) -> list[Pair]:
    """The alignment of two ranges with the highest score (Needleman and Wunsch, gaps are free)."""
    width = last - first
    rows = [[0] * (width + 1)]
    scores = []
    for i in range(low, high):
        line = [score(i, first + j) for j in range(width)]
        scores.append(line)
        above, row = rows[-1], [0]
        value = 0
        for j in range(width):
            value = max(value, above[j + 1])
            if line[j]:
                value = max(value, above[j] + line[j])
            row.append(value)
        rows.append(row)
    pairs = []
    i, j = high - low, width
    while i and j:
        value = rows[i][j]
        if scores[i - 1][j - 1] and value == rows[i - 1][j - 1] + scores[i - 1][j - 1]:
            i, j = i - 1, j - 1
            pairs.append((low + i, first + j))
        elif value == rows[i - 1][j]:
            i -= 1
        else:
            j -= 1
    return pairs
