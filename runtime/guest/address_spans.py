"""Sets of addresses as ascending spans (first, first after), apart from each other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import itemgetter

from relokit.codegen.base.bits import round_up

Span = tuple[int, int]
"""First address, and first address after it."""
_START, _END = itemgetter(0), itemgetter(1)


def spans_of(extents: Iterable[tuple[int, int]]) -> list[Span]:
    """The same set as ``extents``, which are (first address, bytes) in any order."""
    return merged((base, base + size) for base, size in extents)


def extents_of(spans: Iterable[Span]) -> tuple[tuple[int, int], ...]:
    """``spans`` as (first address, bytes)."""
    return tuple((low, high - low) for low, high in spans)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The union of ``spans``, which may meet, be empty, and come in any order."""
    result: list[Span] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def without(spans: list[Span], holes: list[Span]) -> list[Span]:
    """``spans`` less ``holes``; both ascending and free of overlap, so one sweep does it."""
    result: list[Span] = []
    at = 0
    for low, high in spans:
        while at < len(holes) and holes[at][1] <= low:
            at += 1
        following = at
        while following < len(holes) and holes[following][0] < high:
            if low < holes[following][0]:
                result.append((low, holes[following][0]))
            low = max(low, holes[following][1])
            following += 1
        if low < high:
            result.append((low, high))
    return result


def cut(spans: list[Span], low: int, high: int) -> None:
    """Take the addresses from ``low`` up to ``high`` out of ``spans``, which are ascending."""
    first = bisect_right(spans, low, key=_END)
    last = bisect_left(spans, high, first, key=_START)
    if first < last:
        before, after = (spans[first][0], low), (high, spans[last - 1][1])
        spans[first:last] = [(start, end) for start, end in (before, after) if start < end]


def inner(spans: Iterable[Span], step: int) -> list[Span]:
    """What of ``spans`` is made of whole multiples of ``step``."""
    return merged((round_up(low, step), high // step * step) for low, high in spans)


def outer(spans: Iterable[Span], step: int) -> list[Span]:
    """``spans``, widened to whole multiples of ``step``."""
    return merged((low // step * step, round_up(high, step)) for low, high in spans)
