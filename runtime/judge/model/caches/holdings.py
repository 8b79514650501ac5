"""What caches may hold so far in a trace, who left it so, and what that is for those who get it.

``coherence.py`` follows the trace and changes this; here is what is asked of it: is maintenance
complete that somebody relies on, and is a segment all in memory when it is handed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.model.caches.lapse import Lapse, LapseKind, Lapses
from relokit.runtime.judge.model.caches.lines import CLEAN, FIRST_WRITER, Lines, Piece
from relokit.runtime.judge.model.synchronising import Missing, Steps
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.trace import Trace

MAX_WRITERS = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Delivered:
    """A segment that is handed over when ``before`` records of the trace have happened.

    ``executed`` says that it is entered with the MMU off, so that all of it has to be in memory;
    ``resumed`` that it goes on with the MMU on, so that it has to be fetched as it is.
    """

    number: int
    executed: bool
    pa: int
    size: int
    before: int
    resumed: bool = False


class Holdings:
    """Sets of lines, before the first record of ``trace``, after ``prehistory``."""

    def __init__(self, trace: Trace, prehistory: Prehistory) -> None:
        cache_type = trace.start["CTR_EL0"]
        self.lapses = Lapses()
        self.line = 4 << (cache_type >> 16 & 0xF)
        self._lines = Lines(self.line, prehistory)
        self._steps = Steps.of(trace.records)
        self._numbers: dict[int, int] = {}
        self._pcs: list[int] = [0] * FIRST_WRITER
        self._pending: list[Piece] = []
        self._weak: list[tuple[int, int, Piece]] = []
        self._partial: int | None = None
        self._cleaner: dict[int, int] = {}
        self._now = 0
        self._records = trace.records

    def dirty(self) -> frozenset[int]:
        """PAs of the lines that an instruction may have left dirty, at the end."""
        return frozenset(
            chunk.base + int(at) * self.line
            for chunk in self._lines.chunks()
            for at in np.flatnonzero(chunk.writer >= FIRST_WRITER)
        )

    # Who did it ---------------------------------------------------------------------------------

    def _culprit(self, maintained: npt.NDArray[np.uint16], pc: int) -> int:
        """The maintenance that reached some of the lines, or all but not enough; else ``pc``."""
        found = maintained[maintained != 0]
        return self._pcs[int(found[0])] if len(found) else pc

    def _number(self, pc: int) -> int:
        """What stands for the instruction at ``pc`` in an array."""
        number = self._numbers.get(pc)
        if number is None:
            number = min(len(self._pcs), MAX_WRITERS)
            self._numbers[pc] = number
            if number == len(self._pcs):
                self._pcs.append(pc)
        return number

    def _writers(self, writer: npt.NDArray[Any]) -> list[int]:
        return [one for one in np.unique(writer).tolist() if one != CLEAN]

    def _lapse(
        self, kind: LapseKind, pc: int, piece: Piece, chosen: npt.NDArray[np.bool_]
    ) -> Lapse:
        """One more time of ``kind`` at ``pc``, to the ``chosen`` lines of ``piece``."""
        chunk, index = piece
        lapse = self.lapses.at(kind, pc)
        lapse.add(self._lines.addresses(piece, chosen), self.line)
        self._count(lapse.others, chunk.writer[index][chosen])
        writer = chunk.writer[index][chosen]
        lapse.old += int(((writer != CLEAN) & (writer < FIRST_WRITER)).sum()) * self.line
        return lapse

    def _count(self, others: dict[int, int], who: npt.NDArray[Any]) -> None:
        for one, times in zip(*np.unique(who, return_counts=True), strict=True):
            if one >= FIRST_WRITER:
                pc = self._pcs[int(one)]
                others[pc] = others.get(pc, 0) + int(times) * self.line

    # Those who rely on it -----------------------------------------------------------------------

    def _check_complete(self, piece: Piece, user: int | None, one: Delivered | None = None) -> None:
        """Maintenance that was not completed before ``user``, or who gets ``one``, relies on it.

        It is told at the barrier that does not complete it, or at the maintenance.
        """
        if not self._pending:
            return
        chunk, index = piece
        pending = chunk.pending[index]
        if not pending.any():
            return
        for who in np.unique(pending[pending != 0]).tolist():
            chosen = pending == who
            at = self._pcs[who] if self._partial is None else self._partial
            if one is None:
                lapse = self.lapses.at(LapseKind.UNCOMPLETED, at)
            else:
                lapse = self.lapses.handed_over(LapseKind.UNCOMPLETED, at, one.number, True)
            lapse.add(self._lines.addresses(piece, chosen), self.line)
            lapse.others.setdefault(self._pcs[who], 0)
            if user is not None:
                lapse.others.setdefault(user, 0)
        # Told once: it is no old line that hides something besides.
        chunk.cached[index] &= pending == 0
        chunk.pending[index] = 0

    def _deliver(self, one: Delivered) -> None:
        if one.resumed:
            self._deliver_uncleaned_code(one)
            self._deliver_code(one)
            return
        for piece in self._lines.pieces(one.pa, one.size):
            self._check_complete(piece, None, one)
        self._deliver_dirty(one)
        self._deliver_hidden(one)
        self._deliver_weak(one)
        if one.executed:
            self._deliver_code(one)

    def _handed_over(
        self, kind: LapseKind, at: int | None, one: Delivered, missed: npt.NDArray[np.bool_]
    ) -> Lapse:
        executed = one.executed or kind is not LapseKind.DIRTY
        lapse = self.lapses.handed_over(kind, at, one.number, executed)
        first = one.pa & -self.line
        lapse.add(first + np.flatnonzero(missed).astype(np.int64) * self.line, self.line)
        if lapse.segments == [one.number]:
            lapse.missed = missed if lapse.missed is None else lapse.missed | missed
        return lapse

    def _deliver_dirty(self, one: Delivered) -> None:
        writer = self._lines.gathered("writer", one.pa, one.size)
        maintained = self._lines.gathered("maintained", one.pa, one.size)
        for who in np.unique(writer[writer != CLEAN]).tolist():
            missed = writer == who
            if who < FIRST_WRITER:
                lapse = self._handed_over(LapseKind.DIRTY, None, one, missed)
                lapse.old += int(missed.sum()) * self.line
                continue
            # Maintenance that does not do it, or that reaches other lines of the same store.
            beside = self._pcs[self._cleaner.get(who, who)]
            at = self._culprit(maintained[missed], beside)
            lapse = self._handed_over(LapseKind.DIRTY, at, one, missed)
            lapse.others.setdefault(self._pcs[who], 0)

    def _deliver_hidden(self, one: Delivered) -> None:
        stale = self._lines.gathered("stale", one.pa, one.size)
        for who in np.unique(stale[stale != 0]).tolist():
            self._handed_over(LapseKind.HIDDEN, self._pcs[who], one, stale == who)

    def _deliver_weak(self, one: Delivered) -> None:
        for pc, barrier, piece in self._weak:
            pas = self._lines.addresses(piece, np.ones_like(piece[0].cached[piece[1]]))
            inside = pas[(pas >= one.pa & -self.line) & (pas < one.pa + one.size)]
            if len(inside):
                lapse = self.lapses.handed_over(LapseKind.WEAK, pc, one.number, True)
                lapse.add(inside, self.line)
                lapse.others.setdefault(barrier, 0)

    def _deliver_uncleaned_code(self, one: Delivered) -> None:
        stored = self._lines.gathered("stored", one.pa, one.size)
        cleaned = self._lines.gathered("cleaned", one.pa, one.size)
        writer = self._lines.gathered("writer", one.pa, one.size)
        maintained = self._lines.gathered("maintained", one.pa, one.size)
        old = (cleaned < stored) & (writer >= FIRST_WRITER)
        for who in np.unique(writer[old]).tolist():
            missed = old & (writer == who)
            at = self._culprit(maintained[missed], self._pcs[self._cleaner.get(who, who)])
            lapse = self._handed_over(LapseKind.OLD_CODE, at, one, missed)
            lapse.missing = Missing.CLEAN

    def _deliver_code(self, one: Delivered) -> None:
        stored = self._lines.gathered("stored", one.pa, one.size)
        cleaned = self._lines.gathered("cleaned", one.pa, one.size)
        latest = self._steps.latest(self._now)
        late = (stored != 0) & (cleaned >= stored) & (cleaned > max(0, latest))
        if late.any():
            found = self._steps.missing(int(cleaned[late].max()), self._now)
            assert found is not None
            at = int(self._records["pc"][found[1] - 1])
            lapse = self._handed_over(LapseKind.OLD_CODE, at, one, late)
            lapse.missing = found[0]
        in_place = stored == 0
        if in_place.any() and latest < 0 and not one.resumed:
            self._handed_over(LapseKind.NEVER_INVALIDATED, None, one, in_place)
