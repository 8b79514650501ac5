"""Bytes of code: whether what is fetched was stored to, where a line was.

A line of the caches may hold code and data. To store to the data changes no instruction, however
long the line waits for its maintenance: fetches see each byte as it is or as it was (ARM DDI 0487,
B2.7.4.2), and the code's bytes are the same in both.
"""

from __future__ import annotations

import numpy as np

from relokit.runtime.record.trace import ATTRIBUTE_MMU, Records, TraceFlag, TraceKind

MAX_LOOKS = 1 << 12
"""How often bytes are looked at; from there on a line counts as a whole."""


class CodeBytes:
    """Stores of ``records``, and maintenance ``cleaning`` lines of ``line`` bytes by address."""

    def __init__(self, records: Records, cleaning: frozenset[int], line: int) -> None:
        self._records, self._cleaning, self._line = records, sorted(cleaning), line
        self._of: dict[TraceKind, Records] = {}
        self._looks = 0

    def are_in_order(self, pa: int, size: int, now: int, latest: int) -> bool:
        """Whether ``size`` bytes at ``pa``, of one line, are fetched by record ``now`` as they are.

        ``latest`` is the last time that a clean has an invalidation complete behind it; times are
        numbers of records from 1 on.
        """
        self._looks += 1
        if self._looks > MAX_LOOKS:
            return False
        stores = self._before(TraceKind.STORE, now)
        records = self._records[stores]
        first, length = records["pa"], records["length"]
        hits = np.flatnonzero((first < pa + size) & (pa < first + length))
        if not len(hits):
            return True
        last = int(stores[hits[-1]]) + 1
        if records["attributes"][hits[-1]] & ATTRIBUTE_MMU:
            last = self._cleaned(pa & -self._line, last, now)
        return 0 < last <= latest

    def _cleaned(self, line: int, after: int, now: int) -> int:
        """When the line at PA ``line`` was cleaned first ``after`` that, 0 if it was not."""
        numbers = self._before(TraceKind.DC, now)
        numbers = numbers[np.searchsorted(numbers, after) :]
        records = self._records[numbers]
        # An operand in the middle of a line is for that line: the next is not reached.
        stride = records["stride"].astype(np.uint64)
        step = np.where(stride, stride, np.uint64(self._line))
        last = records["pa"] + (records["count"] - np.uint64(1)) * step
        whole = stride <= self._line
        hits = np.flatnonzero(whole & (records["pa"] < line + self._line) & (line <= last))
        return int(numbers[hits[0]]) + 1 if len(hits) else 0

    def _before(self, kind: TraceKind, now: int) -> Records:
        """Numbers of the records of ``kind`` that reach memory, up to ``now``."""
        if kind not in self._of:
            chosen = self._records["kind"] == kind
            chosen &= self._records["flags"] & TraceFlag.NO_PA == 0
            if kind is TraceKind.DC:
                chosen &= np.isin(self._records["encoding"], self._cleaning)
            self._of[kind] = np.flatnonzero(chosen)
        numbers = self._of[kind]
        return numbers[: np.searchsorted(numbers, now)]
