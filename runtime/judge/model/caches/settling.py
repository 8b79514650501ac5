"""What many copies leave behind that are settled at once: as Coherence has it of each record.

In their first order a line is stored to, cleaned and completed: it is clean, and nothing is
pending. In the second one it is dropped, and stored to around the caches: no cache holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.runtime.judge.model.caches.controls import Controls
from relokit.runtime.judge.model.caches.holdings import Holdings
from relokit.runtime.judge.model.caches.lines import CLEAN, NEEDED, Chunk, Piece
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.judge.model.caches.ordering import Ordering
from relokit.runtime.judge.model.caches.settled import (
    Accesses,
    Copies,
    CopyOrder,
    Stretch,
    Stretches,
)
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.trace import ATTRIBUTE_MMU, Trace, TraceFlag

WRITE_BACK_GRANULE = 2048
"""The most that CTR_EL0.CWG can say, which is what it may be where it says nothing."""
# Plain numbers: an IntFlag takes longer than all else that is done to a record.
NOT_FOR_DEVICE = int(TraceFlag.UNALIGNED | TraceFlag.ZERO_BLOCK | TraceFlag.EXCLUSIVE)


Numbers = npt.NDArray[np.unsignedinteger[Any]]


class Settling(Holdings):
    """Sets of lines, with what decides how an access changes them."""

    def __init__(self, trace: Trace, prehistory: Prehistory) -> None:
        super().__init__(trace, prehistory)
        self._granule = max(WRITE_BACK_GRANULE, self.line)
        self._ordering = Ordering(self._lines)
        self._controls = Controls(trace.start)
        self._emptying: list[Piece] = []
        self._emptied = False
        self._hidden = False

    def _settle(self, stretches: Stretches, stretch: Stretch) -> bool:
        """All of ``stretch`` at once; False if it has to be followed record by record."""
        if self._hidden or self._pending or stretch.order is None:
            return False
        copying, loading, flags = stretches.accesses(stretch)
        if stretch.order is CopyOrder.CLEANED:
            possible = not self._emptied and self._are_through(copying, loading)
        else:
            possible = self._are_around({*copying, *loading}, flags)
        if not possible:
            return False
        copies = stretches.copies(stretch)
        if copies is None or not len(copies.pa):
            return copies is not None and stretch.order is CopyOrder.CLEANED
        if stretch.order is CopyOrder.CLEANED:
            self._are_cleaned(copies)
        elif self._are_clean(stretches.loaded(stretch)) and self._may_be_dropped(copies):
            self._are_cleared(copies)
        else:
            return False
        self._weak.clear()
        return True

    def _are_through(self, copying: Accesses, loading: Accesses) -> bool:
        """Whether caches take part in all of it, and keep what is stored."""
        data = self._controls.data
        return all(data(*one).cacheable for one in loading) and all(
            one[0] & ATTRIBUTE_MMU and data(*one) is MemoryType.WRITE_BACK for one in copying
        )

    def _are_around(self, accesses: Accesses, flags: int) -> bool:
        """Whether caches have no part in any of it, nor may hold anything of it by themselves.

        Below a second stage, where an invalidation cleans as well, they may.
        """
        return (
            not flags & NOT_FOR_DEVICE
            and self._ordering.is_known
            and not any(
                self._controls.may_allocate(*one)
                or self._controls.data(*one) is not MemoryType.DEVICE
                for one in accesses
            )
        )

    def _are_clean(self, ranges: Iterator[tuple[int, int]]) -> bool:
        """Whether what is loaded around the caches is in memory."""
        return not any(
            (chunk.writer[index] != CLEAN).any()
            for start, size in ranges
            for chunk, index in self._lines.pieces(start, size)
        )

    def _may_be_dropped(self, copies: Copies) -> bool:
        """Whether nobody needs what the invalidations drop, which are of whole granules."""
        granules = self._granule // self.line
        if (copies.pa % self._granule).any() or (copies.lines % granules).any():
            return False
        return not any(
            (chunk.writer[index] >= NEEDED).any()
            for _, start, size in copies.runs(self.line)
            for chunk, index in self._lines.pieces(start, size)
        )

    def _are_cleaned(self, copies: Copies) -> None:
        by_store, by = self._numbered(copies.store), self._numbered(copies.maintenance)
        in_order = np.argsort(copies.maintenance)
        pairs = zip(by_store[in_order].tolist(), by[in_order].tolist(), strict=True)
        self._cleaner.update(pairs)
        for chunk, index, planes in self._told(copies, by, copies.store, copies.maintenance):
            chunk.writer[index] = CLEAN
            chunk.pending[index] = 0
            chunk.maintained[index], chunk.stored[index], chunk.cleaned[index] = planes
            self._ordering.passed((chunk, index), MemoryType.WRITE_BACK)
        self._ordering.settled(copies.store, copies.barrier, MemoryType.WRITE_BACK)

    def _are_cleared(self, copies: Copies) -> None:
        by = self._numbered(copies.maintenance)
        for chunk, index, planes in self._told(copies, by, copies.store):
            chunk.writer[index] = CLEAN
            chunk.pending[index] = 0
            chunk.cached[index] = False
            chunk.maintained[index], chunk.stored[index] = planes
            chunk.cleaned[index] = chunk.stored[index]
            self._ordering.passed((chunk, index), MemoryType.DEVICE)
        self._emptied = True
        self._ordering.settled(copies.store, copies.barrier, MemoryType.DEVICE)

    def _told(
        self, copies: Copies, by: npt.NDArray[np.uint16], *records: npt.NDArray[np.int64]
    ) -> Iterator[tuple[Chunk, slice, tuple[Numbers, ...]]]:
        """Each piece of all lines, with ``by`` and when ``records`` were, for each line."""
        each: list[Numbers] = [by, *((numbers + 1).astype(np.uint32) for numbers in records)]
        for chosen, start, size in copies.runs(self.line):
            planes = [np.repeat(one[chosen], copies.lines[chosen]) for one in each]
            at = 0
            for chunk, index in self._lines.pieces(start, size):
                end = at + index.stop - index.start
                yield chunk, index, tuple(plane[at:end] for plane in planes)
                at = end

    def _numbered(self, records: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
        """What stands for the instruction of each of ``records``."""
        pcs, which = np.unique(self._records["pc"][records], return_inverse=True)
        return np.array([self._number(pc) for pc in pcs.tolist()], np.uint16)[which]
