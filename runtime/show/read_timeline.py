"""Evidence to TimelineShown: what changes what the CPU runs by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.errors import FormatError
from relokit.codegen.system_registers import REGISTERS, register_name
from relokit.runtime.arch.exceptions import vector_text
from relokit.runtime.arch.redirection import reached
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.evidence.evidence import Evidence
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.stations import StationRole
from relokit.runtime.record.stop import StopReason
from relokit.runtime.record.trace import Trace, TraceKind
from relokit.runtime.show.shown.timeline_shown import CpuThen, TimelineEntry, TimelineShown

MOST = 1 << 12
"""Records that are looked at; a move has some twenty."""
FOLLOWED = ("SCTLR", "TTBR0", "TTBR1", "VBAR")
_OF = {REGISTERS[f"{name}_EL{el}"]: (name, el) for name in FOLLOWED for el in (1, 2)}
_ALSO = frozenset(REGISTERS[name] for name in ("TCR_EL1", "TCR_EL2", "MAIR_EL1", "MAIR_EL2"))
_HCR = REGISTERS["HCR_EL2"]
_CALLS = (TraceKind.SVC, TraceKind.HVC, TraceKind.SMC)
_KINDS = (TraceKind.MSR, *_CALLS, TraceKind.ERET, TraceKind.EXCEPTION)


def timeline_shown(evidence: Evidence) -> TimelineShown:
    """Each change of what the CPU runs by, in order; raises FormatError without a trace."""
    record = evidence.record
    trace = record.trace
    if not isinstance(trace, Trace):
        raise FormatError(f"no time line: {trace.why}", hint="leave --plain out")
    code = record.code.places if isinstance(record.code, CodeSeen) else {}
    numbers = np.flatnonzero(trace.are(_KINDS))
    followed = _Followed(trace, code)
    entries = list(followed.entries(numbers[:MOST], list(_stations(evidence))))
    last = record.legs[-1].stop
    return TimelineShown(
        of=evidence.subject.name,
        instructions=trace.instructions,
        entries=tuple(entries),
        ended=f"{last.reason} at {last.pc:#x}",
        left_out=max(len(numbers) - MOST, 0),
    )


def _stations(evidence: Evidence) -> Iterator[tuple[int, int, str]]:
    """(instructions begun, PC, what is entered), in order."""
    record, at = evidence.record, 0
    assert isinstance(record.trace, Trace)
    fetched = record.trace.of(TraceKind.FETCH)["va"][:1].tolist()
    begins = "the last steps" if record.prepared is None else "machine_kexec"
    yield 0, next(iter(fetched), 0), begins
    entered = [str(promise.role.value) for promise in record.promises]
    if record.jump is not None:
        entered.insert(0, str(StationRole.RELOCATION.value))
    for leg, name in zip(record.legs, entered, strict=False):
        at += leg.stop.instructions
        if leg.stop.reason is StopReason.REACHED:
            yield at, leg.stop.pc, name


class _Followed:
    """The registers of a trace, as they change."""

    def __init__(self, trace: Trace, places: Mapping[int, str]) -> None:
        self._trace, self._places = trace, places
        start = trace.start
        self._values: dict[tuple[str, int], int] = {
            (name, el): start[f"{name}_EL{el}"]
            for name in FOLLOWED
            for el in (1, 2)
            if f"{name}_EL{el}" in start
        }
        self._hcr = start.get("HCR_EL2", 0)
        self._el = start.get("PSTATE", 0) >> 2 & 3

    def entries(
        self, numbers: NDArray[np.intp], waiting: list[tuple[int, int, str]]
    ) -> Iterator[TimelineEntry]:
        """Of the records of these numbers, with the stations that are ``waiting`` among them."""
        for record in self._trace.records[numbers]:
            at = int(record["before"])
            while waiting and waiting[0][0] <= at:
                yield self._station(*waiting.pop(0))
            what = self._take(record)
            if what:
                pc = int(record["pc"])
                yield TimelineEntry(at, pc, what, self._then(), self._places.get(pc))
        for one in waiting:
            yield self._station(*one)

    def _station(self, at: int, pc: int, name: str) -> TimelineEntry:
        what = f"{name} is entered" if at else f"it begins in {name}"
        return TimelineEntry(at, pc, what, self._then(), station=name)

    def _then(self) -> CpuThen:
        el = max(self._el, 1)
        sctlr, ttbr0, ttbr1, vbar = (self._values.get((name, el)) for name in FOLLOWED)
        mmu = None if sctlr is None else bool(sctlr & SCTLR_M)
        return CpuThen(self._el, mmu, ttbr0, ttbr1, vbar)

    def _take(self, record: np.void) -> str | None:
        kind, encoding = TraceKind(int(record["kind"])), int(record["encoding"])
        if kind is TraceKind.MSR:
            return self._written(encoding, int(record["value"]), int(record["el"]))
        if kind in _CALLS:
            return f"{kind.name} #{encoding:#x}, x0 = {int(record['value']):#x}"
        if kind is TraceKind.ERET:
            self._el = encoding >> 2 & 3
            return f"ERET to EL{self._el}, {int(record['va']):#x}"
        self._el = int(record["el"])
        return f"exception to EL{self._el}, {vector_text(encoding & 0x7FF)}"

    def _written(self, encoding: int, value: int, el: int) -> str | None:
        key = reached(encoding, self._hcr, el)
        if key == _HCR:
            self._hcr = value
        elif key in _OF:
            name, of = _OF[key]
            before = self._values.get((name, of))
            self._values[name, of] = value
            if name == "SCTLR" and before is not None and (before ^ value) & SCTLR_M:
                switched = "on" if value & SCTLR_M else "off"
                return f"{register_name(key)} = {value:#x}: MMU {switched} at EL{of}"
        elif key not in _ALSO:
            return None
        return f"{register_name(key)} = {value:#x}"
