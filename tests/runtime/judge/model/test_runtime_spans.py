"""Ranges as arrays, against sets of bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.judge.model.spans import AccessRanges, Earlier, Spans
from relokit.runtime.record.prehistory import without

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=6).map(
    lambda found: [(start << 10, (start + size) << 10) for start, size in found]
)


def kib(ranges: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in ranges for at in range(start >> 10, end >> 10)}


def made(ranges: list[tuple[int, int]], first: int = 0) -> AccessRanges:
    starts, ends = (np.array([one[at] for one in ranges], np.uint64) for at in (0, 1))
    numbers = np.arange(first, first + 2 * len(ranges), 2)
    return AccessRanges(numbers, numbers + 1000, starts, ends)


@given(RANGES, RANGES)
def test_what_lies_in_spans_and_what_touches_them(
    ranges: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    spans, inside = Spans(ranges), kib(ranges)
    one = made(asked)
    assert spans.hold(one.start, one.end).tolist() == [kib([each]) <= inside for each in asked]
    touched = [bool(kib([each]) & inside) for each in asked]
    assert spans.touch(one.start, one.end).tolist() == touched
    assert [spans.touches(*each) for each in asked] == touched
    for each in asked:
        assert kib(list(spans.gaps(*each))) == kib([each]) - inside
    assert kib(list(without(asked, ranges))) == kib(asked) - inside


@given(RANGES, RANGES)
def test_what_was_stored_before_an_access(
    stored: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    """Stores have even numbers and accesses odd ones, so that they take turns."""
    earlier, accesses = Earlier(made(stored)), made(asked, first=1)
    suspects = set(earlier.suspects(accesses).number.tolist())
    for number, _, start, end in accesses.rows():
        hit = [
            (1000 + 2 * at, kib([one]) & kib([(start, end)]))
            for at, one in enumerate(stored)
            if 2 * at < number and kib([one]) & kib([(start, end)])
        ]
        found = [(pc, kib([(at, at + size)])) for pc, at, size in earlier.into(number, start, end)]
        assert sorted(found) == sorted(hit)
        assert not hit or number in suspects
