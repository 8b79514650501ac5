"""Copies that are settled at once: stored, cleaned by line to the point of coherency, completed.

Most of a long trace is that, page after page. What it leaves behind can be said of many pages at a
time, so the model of the caches asks here which records they are. Everything else it goes through
one by one, and these as well where something is pending that they might have to do with.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.model.synchronising import DSB_FULL, DSB_TYPE
from relokit.runtime.record.trace import Records, TraceFlag, TraceKind

FEWEST = 16
"""Records of a stretch below which it is not worth while."""
_TOGETHER = 1 << 12
"""Copies whose lines are told together: a bound on memory."""
_WIDE = (0, 3)
"""Domains of a DSB, bits 3:2 of CRm, that take in an observer with its MMU off."""
_NO_PA = int(TraceFlag.NO_PA)

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Copies:
    """Some copies, ascending by PA; none overlaps another.

    Arrays of one element each: ``pa`` and ``lines``, where one is and how many cache lines it has,
    ``store``, ``clean`` and ``done``, the numbers of its records.
    """

    pa: Numbers
    lines: Numbers
    store: Numbers
    clean: Numbers
    done: Numbers

    def runs(self, line: int) -> Iterator[tuple[slice, int, int]]:
        """Which of them follow each other in memory: PA and bytes of all of these."""
        ends = self.pa + self.lines * line
        cuts = np.flatnonzero(self.pa[1:] != ends[:-1]) + 1
        begins = sorted({0, *cuts.tolist(), *range(0, len(self.pa), _TOGETHER)})
        for begin, end in zip(begins, [*begins[1:], len(self.pa)], strict=True):
            yield slice(begin, end), int(self.pa[begin]), int(ends[end - 1] - self.pa[begin])


class Stretches:
    """Where in ``records`` nothing but such copies and loads is, of those that ``numbers`` has.

    ``cleans`` are the encodings of maintenance that cleans to the point of coherency.
    """

    def __init__(
        self, records: Records, numbers: Numbers, line: int, cleans: frozenset[int]
    ) -> None:
        self._records, self._numbers, self._line = records, numbers, line
        names = ("kind", "pa", "length", "count", "stride", "size", "encoding", "attributes",
                 "flags", "el")  # fmt: skip
        self._of = {name: records[name][numbers] for name in names}
        self._begins = self._found(cleans)
        usual = (self._of["kind"] == TraceKind.LOAD) & (self._of["flags"] & _NO_PA == 0)
        for step in range(3):
            usual[step : len(usual) - 2 + step] |= self._begins[: len(usual) - 2]
        self._usual = usual

    def _found(self, cleans: frozenset[int]) -> Mask:
        """At which of ``numbers`` a copy's store is, followed by its DC and DSB."""
        of, line = self._of, np.uint64(self._line)
        begins = np.zeros(len(self._numbers), np.bool_)
        if len(begins) < FEWEST:
            return begins
        store, clean, done = slice(0, -2), slice(1, -1), slice(2, None)
        kind, flags, encoding = of["kind"], of["flags"], of["encoding"]
        found = (kind[store] == TraceKind.STORE) & (kind[clean] == TraceKind.DC)
        found &= (kind[done] == TraceKind.DSB) & ((flags[store] | flags[clean]) & _NO_PA == 0)
        found &= np.isin(encoding[clean], list(cleans))
        found &= encoding[done] & DSB_TYPE == DSB_FULL
        found &= np.isin(encoding[done] >> 2 & 3, _WIDE)
        for name in ("pa", "attributes", "el"):
            found &= of[name][store] == of[name][clean]
        # The same whole lines: each operand reaches the next one, or the same.
        step = np.where(of["stride"] == 0, of["size"], of["stride"])[clean].astype(np.uint64)
        pa, length = of["pa"][store], of["length"][store]
        found &= (step > 0) & (step <= line) & (pa % line == 0) & (length % line == 0)
        last = (of["count"][clean].astype(np.uint64) - np.uint64(1)) * step
        found &= (length > 0) & (last // line + np.uint64(1) == length // line)
        begins[store] = found
        return begins

    def __iter__(self) -> Iterator[tuple[int, int, bool]]:
        """All of ``numbers`` in order: from which one to which, and whether it is a stretch."""
        edges = np.flatnonzero(np.diff(self._usual.astype(np.int8))) + 1
        at = 0
        bounds = [0, *edges.tolist(), len(self._usual)]
        for begin, end in pairwise(bounds):
            if end - begin >= FEWEST and self._usual[begin]:
                if at < begin:
                    yield at, begin, False
                yield begin, end, True
                at = end
        if at < len(self._usual):
            yield at, len(self._usual), False

    def accesses(self, begin: int, end: int) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
        """Attributes and exception levels of the copies of a stretch, and of its loads."""
        kinds = self._of["kind"][begin:end]
        pairs = self._of["el"][begin:end].astype(np.int64) << 16
        pairs |= self._of["attributes"][begin:end]
        both = (np.unique(pairs[kinds == kind]) for kind in (TraceKind.STORE, TraceKind.LOAD))
        stored, loaded = ({(one & 0xFFFF, one >> 16) for one in each.tolist()} for each in both)
        return stored, loaded

    def copies(self, begin: int, end: int) -> Copies | None:
        """Those of a stretch; None if they overlap, so that their order matters."""
        at = np.flatnonzero(self._begins[begin:end]) + begin
        at = at[np.argsort(self._of["pa"][at], kind="stable")]
        pa = self._of["pa"][at].astype(np.int64)
        lines = self._of["length"][at].astype(np.int64) // self._line
        if len(pa) and ((pa[:-1] + lines[:-1] * self._line) > pa[1:]).any():
            return None
        store, clean, done = (self._numbers[at + step] for step in range(3))
        return Copies(pa, lines, store, clean, done)
