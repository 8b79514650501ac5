"""Ranges of physical memory as arrays: which accesses lie in them, or overlap each other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.prehistory import Range, merged
from relokit.runtime.record.trace import Records, TraceFlag

PAGE_SHIFT = 12
"""AccessRanges are looked up by pages of this size, whatever the granule."""

MAX_PAGES = 1 << 23
"""What can be followed: 32 GiB."""
MAX_STORES = 1 << 12
"""Stores to a page that are looked at one by one, the first ones."""

Numbers = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class Spans:
    """``ranges`` of PAs, merged."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.ranges = merged(ranges)
        self._starts = np.array([start for start, _ in self.ranges], np.uint64)
        self._ends = np.array([end for _, end in self.ranges], np.uint64)

    @classmethod
    def of_pages(cls, pages: Numbers, size: int) -> Spans:
        """``size`` bytes from each PA of ``pages`` on: these are many, and most follow others."""
        pages = np.sort(pages)
        first = np.append(True, pages[1:] - pages[:-1] > size)[: len(pages)]
        last = np.append(first[1:], True)[: len(pages)]
        ends = pages[last] + np.uint64(size)
        return cls(zip(pages[first].tolist(), ends.tolist(), strict=True))

    def hold(self, start: Numbers, end: Numbers) -> Mask:
        """Which of ``[start, end)`` lie in one of the ranges, whole."""
        if not self.ranges:
            return np.zeros(len(start), np.bool_)
        at = np.searchsorted(self._starts, start, "right") - 1
        return np.asarray((at >= 0) & (end <= self._ends[at]))

    def touches(self, start: int, end: int) -> bool:
        """Whether ``[start, end)`` shares a byte with one of the ranges."""
        at = bisect_right(self.ranges, start, key=itemgetter(1))
        return at < len(self.ranges) and self.ranges[at][0] < end

    def gaps(self, start: int, end: int) -> Iterator[Range]:
        """What of ``[start, end)`` none of the ranges holds."""
        at = start
        for low, high in self.ranges[bisect_right(self.ranges, start, key=itemgetter(1)) :]:
            if low >= end:
                break
            if low > at:
                yield at, low
            at = high
        if at < end:
            yield at, end

    def touch(self, start: Numbers, end: Numbers) -> Mask:
        """Which of ``[start, end)`` share a byte with one of the ranges."""
        if not self.ranges:
            return np.zeros(len(start), np.bool_)
        at = np.searchsorted(self._ends, start, "right")
        after = at == len(self._starts)
        at[after] = 0
        return np.asarray(~after & (self._starts[at] < end))


@dataclass(frozen=True, slots=True, eq=False)
class AccessRanges:
    """Ranges of a trace, one element each: its number, its instruction, and which bytes."""

    number: Numbers
    pc: Numbers
    start: Numbers
    end: Numbers

    @classmethod
    def of(cls, records: Records, chosen: Mask) -> AccessRanges:
        """Those of ``records`` that are ``chosen`` and have a PA."""
        numbers = np.flatnonzero(chosen)
        numbers = numbers[records["flags"][numbers] & int(TraceFlag.NO_PA) == 0]
        pc, start, length = (records[name][numbers] for name in ("pc", "pa", "length"))
        return cls(numbers, pc, start, start + length)

    def which(self, chosen: Mask) -> AccessRanges:
        """Those that are ``chosen``."""
        return AccessRanges(
            self.number[chosen], self.pc[chosen], self.start[chosen], self.end[chosen]
        )

    def __len__(self) -> int:
        return len(self.number)

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        """Number, pc, first PA and the PA behind the last, as Python's numbers."""
        columns = (self.number, self.pc, self.start, self.end)
        return zip(*(column.tolist() for column in columns), strict=True)

    def by_page(self) -> tuple[Numbers, Numbers]:
        """Pages that are touched, and which access touches each: one pair for each page of each.

        Raises UnknownFactError if these are too many.
        """
        first = self.start >> np.uint64(PAGE_SHIFT)
        last = (self.end - np.uint64(1)) >> np.uint64(PAGE_SHIFT)
        count = (last - first).astype(np.int64) + 1
        pages = int(count.sum())
        if pages > MAX_PAGES:
            raise UnknownFactError(f"accesses to {pages:,} pages are more than can be followed")
        which = np.repeat(np.arange(len(self)), count)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        return first[which] + offset.astype(np.uint64), which


class Earlier:
    """``stores``, to be asked what of an access was stored before it."""

    def __init__(self, stores: AccessRanges) -> None:
        self._stores = stores
        pages, which = stores.by_page()
        order = np.argsort(pages, kind="stable")
        self._pages, self._which = pages[order], which[order]

    def suspects(self, accesses: AccessRanges) -> AccessRanges:
        """Those of ``accesses`` in whose pages something was stored before them."""
        if not len(self._stores) or not len(accesses):
            return accesses.which(np.zeros(len(accesses), np.bool_))
        pages, which = accesses.by_page()
        at = np.searchsorted(self._pages, pages)
        inside = at < len(self._pages)
        at[~inside] = 0
        first = self._stores.number[self._which[at]]
        hit = inside & (self._pages[at] == pages) & (first < accesses.number[which])
        chosen = np.zeros(len(accesses), np.bool_)
        chosen[which[hit]] = True
        return accesses.which(chosen)

    def into(self, number: int, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The pc, first PA and bytes of stores to ``[start, end)`` before record ``number``."""
        first = np.searchsorted(self._pages, start >> PAGE_SHIFT)
        last = np.searchsorted(self._pages, (end - 1) >> PAGE_SHIFT, "right")
        last = min(last, first + MAX_STORES)
        stores = self._stores.which(np.unique(self._which[first:last]))
        low = np.maximum(stores.start, np.uint64(start))
        high = np.minimum(stores.end, np.uint64(end))
        hit = (stores.number < number) & (low < high)
        rows = zip(stores.pc[hit].tolist(), low[hit].tolist(), high[hit].tolist(), strict=True)
        yield from ((pc, at, to - at) for pc, at, to in rows)
