"""One pass over a trace: what the caches may do after each record, as sets of lines.

The machine is the worst one that the architecture allows: lines may be written back or allocated
at any time (D7.5.1), an invalidation may reach 2 KiB (CTR_EL0.CWG), the I-cache knows nothing of
stores (CTR_EL0.IDC and DIC are 0). Source of every step: ARM DDI 0487, D7.5, B2.7.4, and the
section on mismatched attributes; the comments name them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from relokit.codegen.system_registers import OPERATIONS
from relokit.runtime.judge.model.caches.code_bytes import CodeBytes
from relokit.runtime.judge.model.caches.holdings import Delivered
from relokit.runtime.judge.model.caches.lapse import LapseKind
from relokit.runtime.judge.model.caches.lines import (
    CLEAN,
    COPIED,
    COPIED_DIRTY,
    NEEDED,
    Chunk,
    Piece,
)
from relokit.runtime.judge.model.caches.memory_type import (
    ANYWHERE,
    MemoryType,
    in_memory,
    memory_type,
)
from relokit.runtime.judge.model.caches.repetitions import without_repetitions
from relokit.runtime.judge.model.caches.settled import CopyOrder, Stretches
from relokit.runtime.judge.model.caches.settling import NOT_FOR_DEVICE, Settling
from relokit.runtime.judge.model.synchronising import DSB_FULL, DSB_TYPE
from relokit.runtime.record.given import Extent
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.trace import ATTRIBUTE_MMU, Trace, TraceFlag, TraceKind

_TO_POC = frozenset(
    OPERATIONS[f"dc {name}"]
    for name in (
        "cvac", "cgdvac", "civac", "cigdvac", "cvap", "cgdvap", "cvadp", "cgdvadp",
    )
)  # fmt: skip
_INVALIDATES = frozenset(
    OPERATIONS[f"dc {name}"] for name in ("ivac", "igdvac", "civac", "cigdvac")
)
_DISCARDS = frozenset(OPERATIONS[f"dc {name}"] for name in ("ivac", "igdvac"))
_TO_POU = OPERATIONS["dc cvau"]
_BY_SET_AND_WAY = frozenset(
    OPERATIONS[f"dc {name}"]
    for name in ("isw", "igsw", "igdsw", "csw", "cgsw", "cgdsw", "cisw", "cigsw", "cigdsw")
)
_BY_ADDRESS = OPERATIONS["ic ivau"]
_OPTIONAL = frozenset(
    key
    for name, key in OPERATIONS.items()
    if name.startswith("dc ") and (name.endswith(("vap", "vadp")) or "g" in name)
)
"""What not every CPU has: to the point of persistence (FEAT_DPB, DPB2), of tags (FEAT_MTE)."""
_COUNTED = _OPTIONAL | _BY_SET_AND_WAY
_SETTLES = {CopyOrder.CLEANED: _TO_POC - _OPTIONAL, CopyOrder.CLEARED: _DISCARDS - _OPTIONAL}
"""Maintenance of copies that may be told together."""
_OUTER_SHAREABLE, _FULL_SYSTEM = 0, 3
"""Domains of a DSB, bits 3:2 of CRm, that take in an observer with its MMU off."""
_NO_PA = int(TraceFlag.NO_PA)

_FIELDS = (
    "kind", "pc", "va", "pa", "length", "value", "count", "stride", "size", "encoding",
    "attributes", "flags", "el",
)  # fmt: skip
_Row = tuple[int, ...]
_BLOCK = 1 << 16
"""Records that are Python's numbers at a time."""
_WAY = 2 << 20
"""Bytes that no way of an I-cache that is built exceeds (CCSIDR_EL1 of most tells of 16 KiB): VAs
of a PA that are a multiple of it apart have one index, as a linear map and an identity map have."""


class Coherence(Settling):
    """``trace`` followed to its end, after ``prehistory``; ``delivered`` is judged on the way.

    Only what is in ``banks`` of RAM is in any cache.
    """

    def __init__(
        self,
        trace: Trace,
        prehistory: Prehistory,
        delivered: Iterable[Delivered],
        banks: tuple[Extent, ...] | Unknown = ANYWHERE,
    ) -> None:
        super().__init__(trace, prehistory)
        self._banks = banks
        self._in_memory = CodeBytes(trace.records, _TO_POC, self.line)
        self._unified = CodeBytes(trace.records, _TO_POC | {_TO_POU}, self.line)
        self._follow(trace, sorted(delivered, key=lambda one: one.before))

    def _follow(self, trace: Trace, delivered: list[Delivered]) -> None:
        carry: dict[int, Callable[[_Row], None]] = {
            TraceKind.STORE: self._store,
            TraceKind.LOAD: self._load,
            TraceKind.FETCH: self._fetch,
            TraceKind.DC: self._maintain,
            TraceKind.IC: self._invalidate_code,
            TraceKind.DSB: self._complete,
            TraceKind.DMB: self._order,
            TraceKind.MSR: self._write_register,
        }
        accesses = trace.are((TraceKind.STORE, TraceKind.LOAD, TraceKind.FETCH))
        accesses &= trace.records["flags"] & _NO_PA == 0
        of_device = accesses & ~in_memory(trace.records["pa"], self._banks)
        numbers = np.flatnonzero(trace.are(carry) & ~of_device)
        numbers = without_repetitions(trace.records, numbers, _FIELDS, _COUNTED)
        stretches = Stretches(trace.records, numbers, self.line, _SETTLES)
        waiting = deque(delivered)
        for stretch in stretches:
            handed_over = waiting and waiting[0].before <= numbers[stretch.end - 1]
            if not handed_over and self._settle(stretches, stretch):
                continue
            for begin in range(stretch.begin, stretch.end, _BLOCK):
                block = numbers[begin : min(begin + _BLOCK, stretch.end)]
                columns = [trace.records[name][block].tolist() for name in _FIELDS]
                for number, *row in zip(block.tolist(), *columns, strict=True):
                    while waiting and waiting[0].before <= number:
                        self._deliver(waiting.popleft())
                    self._now = number + 1
                    carry[row[0]](tuple(row))
        for one in waiting:
            self._now = one.before
            self._deliver(one)

    # Accesses -------------------------------------------------------------------------------------

    def _type(self, row: _Row) -> MemoryType:
        attributes, el = row[10], row[12]
        if attributes & ATTRIBUTE_MMU and self._emptied:
            # D7.5.1: what is mapped cacheable may be allocated at any time.
            for chunk in self._lines.chunks():
                chunk.cached[:] = True
            self._emptied = False
        return self._controls.data(attributes, el)

    def _store(self, row: _Row) -> None:
        _, pc, _, pa, length = row[:5]
        kind = self._type(row)
        if row[11] & _NO_PA:
            return
        who, now = self._number(pc), self._now
        if kind is MemoryType.WRITE_BACK:
            for chunk, index in self._lines.pieces(pa, length):
                chunk.writer[index] = who
                chunk.pending[index] = chunk.maintained[index] = 0
                self._ordering.store((chunk, index), kind, now)
        elif kind is MemoryType.THROUGH:
            for piece in self._lines.pieces(pa, length):
                self._ordering.store(piece, kind, now)
        else:
            self._store_around(row, who, kind)

    def _store_around(self, row: _Row, who: int, kind: MemoryType) -> None:
        """A store that no cache takes part in: mismatched attributes, if a line is in one."""
        _, pc, _, pa, length = row[:5]
        self._check_device(row)
        self._check_mixed(row, kind)
        start = pa & -self._granule
        rounded = (pa + length + self._granule - 1 & -self._granule) - start
        for chunk, index in self._lines.pieces(start, rounded):
            writer = chunk.writer[index]
            if writer.any():
                dirty = writer != CLEAN
                # Any dirty line may be written back later, a whole granule of it at that.
                at = self._culprit(chunk.maintained[index], pc)
                lapse = self._lapse(LapseKind.WRITTEN_AROUND, at, (chunk, index), dirty)
                lapse.others.setdefault(pc, 0)
                chunk.writer[index][dirty] = CLEAN
                chunk.cached[index] &= ~dirty
        for chunk, index in self._lines.pieces(pa, length):
            self._check_complete((chunk, index), pc)
            cached = chunk.cached[index]
            if cached.any():
                maintained = chunk.maintained[index]
                chunk.stale[index] = np.where(
                    cached, np.where(maintained, maintained, who), chunk.stale[index]
                )
                self._hidden = True
            chunk.cleaned[index] = self._now
            self._ordering.store((chunk, index), kind, self._now)

    def _load(self, row: _Row) -> None:
        _, pc, _, pa, length = row[:5]
        kind = self._type(row)
        if row[11] & _NO_PA or (kind.cacheable and not self._hidden):
            return
        for chunk, index in self._lines.pieces(pa, length):
            if kind.cacheable:
                stale = chunk.stale[index] != 0
                if stale.any():
                    lapse = self._lapse(LapseKind.READ_HIDDEN, pc, (chunk, index), stale)
                    self._count(lapse.others, chunk.stale[index][stale])
                continue
            writer = chunk.writer[index]
            if writer.any():
                self._lapse(LapseKind.READ_AROUND, pc, (chunk, index), writer != CLEAN)
            self._check_complete((chunk, index), pc)
        if not kind.cacheable:
            self._check_device(row)
            self._check_mixed(row, kind)

    def _check_mixed(self, row: _Row, kind: MemoryType) -> None:
        for piece, mixed in self._ordering.mixed(row[3], row[4], kind):
            self._lapse(LapseKind.MIXED, row[1], piece, mixed)

    def _check_device(self, row: _Row) -> None:
        attributes, flags = row[10], row[11]
        device = memory_type(attributes, cache_on=True) is MemoryType.DEVICE
        if device and flags & NOT_FOR_DEVICE:
            lapse = self.lapses.at(LapseKind.FORBIDDEN, row[1])
            lapse.times += 1
            lapse.size += row[4]
            lapse.spans[:] = lapse.spans or [(row[3], row[4])]

    # Maintenance ----------------------------------------------------------------------------------

    def _maintain(self, row: _Row) -> None:
        _, pc, _, pa, _, _, operands, stride, size, what, _, flags, el = row
        kind = self._type(row)
        if what in _OPTIONAL:
            self.lapses.at(LapseKind.OPTIONAL, pc).times += 1
        if what in _BY_SET_AND_WAY:
            self.lapses.at(LapseKind.SET_WAY, pc).times += 1
            return
        if flags & _NO_PA:
            return
        who = self._number(pc)
        pieces = list(self._lines.strided(pa, stride or size, operands))
        for chunk, index in pieces:
            chunk.maintained[index] = who
        masked = what in _DISCARDS and self._controls.invalidation_cleans(el)
        if what in _DISCARDS:
            self._discard(pc, pieces, masked)
        pieces = self._ordering.certain(pieces, kind)
        if what in _INVALIDATES:
            self._invalidate(row, who, pieces)
        if what in _TO_POC or masked:
            for piece in pieces:
                self._clean(piece, who)
            self._pending.extend(pieces)
        elif what == _TO_POU:
            for chunk, index in pieces:
                chunk.cleaned[index] = self._now
                writer = chunk.writer[index]
                self._cleaner[int(writer[0])] = self._cleaner[int(writer[-1])] = who

    def _clean(self, piece: Piece, who: int) -> None:
        chunk, index = piece
        writer = chunk.writer[index]
        if writer.all():
            self._cleaner[int(writer[0])] = self._cleaner[int(writer[-1])] = who
            chunk.pending[index] = who
        else:
            dirty = writer != CLEAN
            for one in self._writers(writer):
                self._cleaner[one] = who
            chunk.pending[index] = np.where(dirty, who, chunk.pending[index])
        chunk.writer[index] = CLEAN
        chunk.cleaned[index] = self._now

    def _order(self, row: _Row) -> None:
        if row[9] & DSB_TYPE == DSB_FULL:
            self._ordering.barrier(self._now)

    def _discard(self, pc: int, pieces: list[Piece], masked: bool) -> None:
        """An invalidation without a clean drops what is dirty, up to a granule around it.

        Not if it is ``masked``, by a hypervisor that has it clean.
        """
        for chunk, index in self._granules(pieces):
            needed = chunk.writer[index] >= NEEDED
            if needed.any():
                kind = LapseKind.MASKED if masked else LapseKind.DISCARDED
                self._lapse(kind, pc, (chunk, index), needed)
                if not masked:
                    chunk.writer[index][needed] = CLEAN
        if masked:
            return
        for chunk, index in pieces:
            # What nobody needs is gone now, too.
            chunk.writer[index] = CLEAN

    def _granules(self, pieces: list[Piece]) -> Iterator[Piece]:
        """The whole granules that ``pieces`` touch."""
        step = self._granule // self.line
        for chunk, index in pieces:
            if isinstance(index, slice):
                yield chunk, slice(index.start // step * step, -(-index.stop // step) * step)
                continue
            for granule in np.unique(index // step).tolist():
                yield chunk, slice(granule * step, (granule + 1) * step)

    def _invalidate(self, row: _Row, who: int, pieces: list[Piece]) -> None:
        if self._hidden:
            for chunk, index in pieces:
                hidden = chunk.stale[index] != 0
                chunk.pending[index] = np.where(hidden, who, chunk.pending[index])
                chunk.stale[index] = 0
            self._pending.extend(pieces)
        if not self._controls.may_allocate(row[10], row[12]):
            # Only what this level or one above maps cacheable can be allocated again (D7.5.1).
            if row[9] in _DISCARDS:
                for chunk, index in pieces:
                    chunk.pending[index] = who
                self._pending.extend(pieces)
            self._emptying.extend(pieces)

    def _complete(self, row: _Row) -> None:
        pc, barrier = row[1], row[9]
        self._order(row)
        if barrier & DSB_TYPE != DSB_FULL:
            if self._pending:
                self._partial = pc
            return
        partial, self._partial = self._partial, None
        wide = barrier >> 2 & 3 in (_OUTER_SHAREABLE, _FULL_SYSTEM)
        if wide:
            self._weak.clear()
        for chunk, index in self._pending:
            if not wide and chunk.pending[index].any():
                self._weak.append((partial or pc, pc, (chunk, index)))
            chunk.pending[index] = 0
        self._pending.clear()
        for chunk, index in self._emptying:
            chunk.cached[index] = False
            self._emptied = True
        self._emptying.clear()

    # Code -----------------------------------------------------------------------------------------

    def _invalidate_code(self, row: _Row) -> None:
        _, _, va, pa, _, _, operands, stride, size, what, _, flags, _ = row
        if what == _BY_ADDRESS and not flags & _NO_PA:
            # CTR_EL0.IminLine may be of more than DminLine's bytes, which lines are of.
            for part in range(pa & -size, (pa & -size) + size, self.line):
                for chunk, index in self._lines.strided(part, stride or size, operands):
                    chunk.invalidate(va - pa, index, self._now)

    def _fetch(self, row: _Row) -> None:
        _, pc, _, pa, length = row[:5]
        self._type(row)
        kind = self._controls.code(row[10], row[12])
        if row[11] & _NO_PA:
            return
        for chunk, index in self._lines.pieces(pa, length):
            if kind is not MemoryType.WRITE_BACK:
                dirty = chunk.writer[index] != CLEAN
                if dirty.any():
                    dirty &= ~self._beside(self._in_memory, row, (chunk, index), dirty)
                if dirty.any():
                    self._lapse(LapseKind.FETCHED_DIRTY, pc, (chunk, index), dirty)
                    chunk.told(index, dirty)
            if kind.cacheable and self._hidden:
                stale = chunk.stale[index] != 0
                if stale.any():
                    lapse = self._lapse(LapseKind.FETCHED_HIDDEN, pc, (chunk, index), stale)
                    self._count(lapse.others, chunk.stale[index][stale])
            stored = chunk.stored[index]
            if stored.any() or chunk.copied is not None:
                self._fetch_changed(row, (chunk, index))

    def _fetch_changed(self, row: _Row, piece: tuple[Chunk, slice]) -> None:
        _, pc, va, pa = row[:4]
        old, elsewhere = self._old_code(piece, va - pa)
        if old.any():
            old &= ~self._beside(self._unified, row, piece, old)
        for kind, lines in (
            (LapseKind.FETCHED_OLD, old),
            (LapseKind.FETCHED_ELSEWHERE, elsewhere),
        ):
            if lines.any():
                self._lapse(kind, pc, piece, lines)
                piece[0].told(piece[1], lines)

    def _beside(
        self, known: CodeBytes, row: _Row, piece: tuple[Chunk, slice], lines: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Those of ``lines`` that were stored to beside the bytes that ``row`` fetches only."""
        chunk, index = piece
        pa, end = row[3], row[3] + row[4]
        beside = np.zeros_like(lines)
        latest = self._now if known is self._in_memory else self._steps.latest(self._now)
        for at in np.flatnonzero(lines & (chunk.cleaned[index] != 0)).tolist():
            line = chunk.base + (index.start + at) * self.line
            start, stop = max(pa, line), min(end, line + self.line)
            beside[at] = known.are_in_order(start, stop - start, self._now, latest)
        return beside

    def _old_code(
        self, piece: Piece, offset: int
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Lines that may be fetched ``offset`` above their PA as before they were stored to.

        The second ones only by what the architecture allows, and no I-cache that is built does.
        """
        chunk, index = piece
        stored, cleaned = chunk.stored[index], chunk.cleaned[index]
        changed = stored != 0
        old = changed & (cleaned < stored)
        late = changed & ~old & (cleaned > max(0, self._steps.latest(self._now)))
        elsewhere = np.zeros_like(late)
        if late.any():
            # By address an IC reaches this VA's lines only: at another they are not certain.
            if offset in chunk.invalidated:
                late &= ~self._reached(late, cleaned, chunk.invalidated[offset][index])
            for at, plane in chunk.invalidated.items():
                if at != offset and (at - offset) % _WAY == 0:
                    reached = self._reached(late, cleaned, plane[index])
                    elsewhere |= reached
                    late &= ~reached
        if chunk.copied is not None:
            copied = np.where(changed, 0, chunk.copied[index])
            never = self._steps.latest(self._now) < 0
            old |= copied == COPIED_DIRTY
            old |= (copied == COPIED) & never
        return np.asarray(old | late), elsewhere

    def _reached(
        self,
        late: npt.NDArray[np.bool_],
        cleaned: npt.NDArray[np.uint32],
        by_address: npt.NDArray[np.uint32],
    ) -> npt.NDArray[np.bool_]:
        """Those of ``late`` lines that an IC at ``by_address`` serves, in time and complete."""
        reached = np.zeros_like(late)
        for at in np.unique(by_address[late]).tolist():
            if not at or self._steps.missing_after(at, self._now):
                continue
            ready = late & (by_address == at)
            first = int(cleaned[ready].max())
            # The clean has to be complete before the invalidation.
            if any(first < barrier < at for barrier in self._steps.barriers):
                reached |= ready
        return reached

    def _write_register(self, row: _Row) -> None:
        self._controls.write(row[9], row[5], row[12])
