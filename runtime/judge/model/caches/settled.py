"""Copies that are settled at once, which most of a long trace is: page after page is stored through
the caches, cleaned and completed; or invalidated, completed and stored around them.

What these leave behind can be said of many at a time, so the model of the caches asks here which
records they are. Everything else it goes through one by one, and these as well where something is
pending that they might have to do with.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
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
Accesses = set[tuple[int, int]]
"""Attributes of records, and the exception levels beside them."""


class CopyOrder(Enum):
    """The records of a copy, loads left out; the value is the place of store, maintenance, DSB."""

    CLEANED = (0, 1, 2)
    CLEARED = (2, 0, 1)


_KINDS = (TraceKind.STORE, TraceKind.DC, TraceKind.DSB)


@dataclass(frozen=True, slots=True)
class Copies:
    """Some copies, ascending by PA; none overlaps another.

    Arrays of one element each: ``pa`` and ``lines``, where one is and how many cache lines it has,
    ``store``, ``maintenance`` and ``barrier``, the numbers of its records.
    """

    pa: Numbers
    lines: Numbers
    store: Numbers
    maintenance: Numbers
    barrier: Numbers

    def runs(self, line: int) -> Iterator[tuple[slice, int, int]]:
        """Which of them follow each other in memory: PA and bytes of all of these."""
        ends = self.pa + self.lines * line
        cuts = np.flatnonzero(self.pa[1:] != ends[:-1]) + 1
        begins = sorted({0, *cuts.tolist(), *range(0, len(self.pa), _TOGETHER)})
        for begin, end in pairwise([*begins, len(self.pa)]):
            yield slice(begin, end), int(self.pa[begin]), int(ends[end - 1] - self.pa[begin])


@dataclass(frozen=True, slots=True)
class Stretch:
    """From which of the numbers to which nothing is but loads, and copies in one ``order``.

    Without an order it is anything else.
    """

    begin: int
    end: int
    order: CopyOrder | None = None


class Stretches:
    """Where such copies are in ``records``, of those that ``numbers`` has.

    ``maintenance`` has the encodings that it may be, by order.
    """

    def __init__(
        self,
        records: Records,
        numbers: Numbers,
        line: int,
        maintenance: dict[CopyOrder, frozenset[int]],
    ) -> None:
        self._numbers, self._line = numbers, line
        names = ("kind", "pa", "length", "count", "stride", "size", "encoding", "attributes",
                 "flags", "el")  # fmt: skip
        self._of = {name: records[name][numbers] for name in names}
        self._loads = self._of["kind"] == TraceKind.LOAD
        self._mapped_loads = self._loads & (self._of["flags"] & _NO_PA == 0)
        self._beside = np.flatnonzero(~self._loads)
        self._found = {order: self._copies(order, maintenance[order]) for order in CopyOrder}

    def _copies(self, order: CopyOrder, maintenance: frozenset[int]) -> Numbers:
        """Each copy in ``order``: at which of the numbers its store, maintenance and DSB are."""
        of, line, beside = self._of, np.uint64(self._line), self._beside
        if len(self._numbers) < FEWEST or len(beside) < 3:
            return np.zeros((0, 3), np.int64)
        count = len(beside) - 2
        places = [beside[place : place + count] for place in order.value]
        found = np.ones(count, np.bool_)
        for at, kind in zip(places, _KINDS, strict=True):
            found &= of["kind"][at] == kind
        store, by, done = (at[found] for at in places)
        encoding, flags = of["encoding"], of["flags"]
        right = (flags[store] | flags[by]) & _NO_PA == 0
        right &= np.isin(encoding[by], list(maintenance))
        right &= encoding[done] & DSB_TYPE == DSB_FULL
        right &= np.isin(encoding[done] >> 2 & 3, _WIDE)
        for name in ("pa", "attributes", "el"):
            right &= of[name][store] == of[name][by]
        # The same whole lines: each operand reaches the next one, or the same.
        step = np.where(of["stride"][by] == 0, of["size"][by], of["stride"][by]).astype(np.uint64)
        pa, length = of["pa"][store], of["length"][store]
        right &= (step > 0) & (step <= line) & (pa % line == 0) & (length % line == 0)
        last = (of["count"][by].astype(np.uint64) - np.uint64(1)) * step
        right &= (length > 0) & (last // line + np.uint64(1) == length // line)
        chosen: Numbers = np.stack((store, by, done), axis=1)[right]
        return chosen

    def __iter__(self) -> Iterator[Stretch]:
        """All of the numbers, in order."""
        stretches = sorted(
            (stretch for order in CopyOrder for stretch in self._of_order(order)),
            key=lambda stretch: stretch.begin,
        )
        at = 0
        for stretch in stretches:
            # They share loads only, since the orders' maintenance is not the same.
            begin = max(at, stretch.begin)
            if stretch.end - begin < FEWEST:
                continue
            if at < begin:
                yield Stretch(at, begin)
            yield Stretch(begin, stretch.end, stretch.order)
            at = stretch.end
        if at < len(self._numbers):
            yield Stretch(at, len(self._numbers))

    def _of_order(self, order: CopyOrder) -> Iterator[Stretch]:
        usual = self._mapped_loads.copy()
        usual[self._found[order]] = True
        edges = np.flatnonzero(np.diff(usual)) + 1
        for begin, end in pairwise([0, *edges.tolist(), len(usual)]):
            if end - begin >= FEWEST and usual[begin]:
                yield Stretch(begin, end, order)

    def accesses(self, stretch: Stretch) -> tuple[Accesses, Accesses, int]:
        """Those of its copies, those of its loads, and the flags of all."""
        chosen = slice(stretch.begin, stretch.end)
        pairs = self._of["el"][chosen].astype(np.int64) << 16 | self._of["attributes"][chosen]
        kinds = self._of["kind"][chosen]
        both = (np.unique(pairs[kinds == kind]) for kind in (TraceKind.STORE, TraceKind.LOAD))
        stored, loaded = ({(one & 0xFFFF, one >> 16) for one in each.tolist()} for each in both)
        return stored, loaded, int(np.bitwise_or.reduce(self._of["flags"][chosen]))

    def copies(self, stretch: Stretch) -> Copies | None:
        """Those of a stretch; None if they overlap, so that their order matters."""
        assert stretch.order is not None
        found = self._found[stretch.order]
        first = found.min(axis=1)
        found = found[(first >= stretch.begin) & (first < stretch.end)]
        found = found[np.argsort(self._of["pa"][found[:, 0]], kind="stable")]
        pa = self._of["pa"][found[:, 0]].astype(np.int64)
        lines = self._of["length"][found[:, 0]].astype(np.int64) // self._line
        if len(pa) and (pa[:-1] + lines[:-1] * self._line > pa[1:]).any():
            return None
        store, maintenance, barrier = self._numbers[found].T
        return Copies(pa, lines, store, maintenance, barrier)

    def loaded(self, stretch: Stretch) -> Iterator[tuple[int, int]]:
        """PA and bytes of what its loads touch, those that touch each other as one."""
        at = np.flatnonzero(self._loads[stretch.begin : stretch.end]) + stretch.begin
        at = at[np.argsort(self._of["pa"][at], kind="stable")]
        starts = self._of["pa"][at]
        ends = np.maximum.accumulate(starts + self._of["length"][at])
        last = np.append(ends[:-1] < starts[1:], True)[: len(ends)]
        first = np.append(True, last[:-1])[: len(ends)]
        for start, end in zip(starts[first].tolist(), ends[last].tolist(), strict=True):
            yield start, end - start
