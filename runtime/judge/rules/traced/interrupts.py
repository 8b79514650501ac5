"""interrupt.*: where an exception can be taken, its vectors are there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.codegen.system_registers import REGISTERS, register_name
from relokit.runtime.arch.redirection import reached
from relokit.runtime.arch.register_fields import field
from relokit.runtime.judge.model.exposure import Exposure, exposures
from relokit.runtime.judge.rules.rule import Broken, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.traced.caches import ARM
from relokit.runtime.judge.rules.traced.lapses_told import (
    ask_whole,
    bounded,
    instruction,
    placed,
    told_at,
)
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record
from relokit.runtime.record.trace import Records, Trace, TraceKind

_NAMES = {9: "debug exceptions", 8: "SErrors", 7: "interrupts", 6: "fast interrupts"}
"""Bits of PSTATE.DAIF."""
_UNMASKS = [int(one) for one in (TraceKind.MSR, TraceKind.MSR_FIELD, TraceKind.ERET)]
_LOSES = [*_UNMASKS, int(TraceKind.EXCEPTION)]
_ROUTES = {"IMO": "interrupts", "FMO": "fast interrupts", "AMO": "SErrors"}
"""Fields of HCR_EL2 that send to EL2 what comes at EL1, masked there or not (D1.3.6)."""


def _masked(record: Record) -> Iterator[Broken]:
    trace = known(record.trace)
    yield from bounded(_exposed(record, trace, one) for one in exposures(trace))
    ask_whole(trace)


def _exposed(record: Record, trace: Trace, one: Exposure) -> Broken:
    records = trace.records
    first, vectors = records[one.begin], records[one.state]
    open_ = [name for bit, name in _NAMES.items() if not int(vectors["encoding"]) >> bit & 1]
    unmasks = _last(records, one.begin, _UNMASKS)
    pc = int((first if unmasks is None else records[unmasks])["pc"])
    since = "from the start on" if unmasks is None else f"since {instruction(record, pc)}"
    return told_at(
        record,
        f"{' and '.join(open_)} are not masked {since}, and find no vectors in the end: "
        f"VBAR_EL{vectors['el']} = {vectors['va']:#x} {one.loss.value}",
        pc,
        notes=_lost(record, trace, one),
    )


def _lost(record: Record, trace: Trace, one: Exposure) -> Iterator[str]:
    records = trace.records
    at: int | None = one.lost
    if records["kind"][one.lost] != TraceKind.STORE:
        at = _last(records, one.lost, _LOSES) if one.lost != one.begin else None
    if at is not None:
        pc = int(records["pc"][at])
        yield f"lost with {instruction(record, pc)} at {placed(record, pc)}"


def _last(records: Records, number: int, kinds: list[int]) -> int | None:
    """The number of the last record of ``kinds`` before record ``number``."""
    found = np.flatnonzero(np.isin(records["kind"][:number], kinds))
    return int(found[-1]) if len(found) else None


def _aligned(record: Record) -> Iterator[Broken]:
    trace = known(record.trace)
    writes = trace.of(TraceKind.MSR)
    told: set[int] = set()
    for key, value, el, pc in zip(
        *(writes[name].tolist() for name in ("encoding", "value", "el", "pc")), strict=True
    ):
        # Under another E2H the name is another level's VBAR: as wrong there.
        name = register_name(key)
        if name.startswith("VBAR_EL") and value % VECTOR_TABLE_SIZE and pc not in told:
            told.add(pc)
            yield told_at(
                record, f"{instruction(record, pc)} sets {name} to {value:#x} at EL{el}", pc
            )
    ask_whole(trace)


def _routed(record: Record) -> Iterator[Broken]:
    trace = known(record.trace)
    found = _hcr_at_el1(trace)
    if found is None:
        return
    hcr, pc = found
    names = [name for bit, name in _ROUTES.items() if field("HCR_EL2", hcr, bit)]
    yield told_at(
        record,
        f"{' and '.join(names)} that come at EL1 are taken to EL2, masked or not: "
        f"HCR_EL2 = {hcr:#x}",
        pc,
    )


def _hcr_at_el1(trace: Trace) -> tuple[int, int] | None:
    """HCR_EL2 where code first runs at EL1 with something routed to EL2, and the PC there."""
    records = trace.records
    kinds = [int(TraceKind.MSR), int(TraceKind.FETCH)]
    numbers = np.flatnonzero(trace.are(kinds))
    hcr = trace.start.get("HCR_EL2", 0)
    routes = sum(1 << bit for bit in (3, 4, 5))
    if not hcr & routes and not (records["encoding"] == REGISTERS["HCR_EL2"]).any():
        return None
    columns = (
        records[name][numbers].tolist() for name in ("kind", "encoding", "value", "el", "pc")
    )
    for kind, key, value, el, pc in zip(*columns, strict=True):
        if kind == TraceKind.MSR and reached(key, hcr, el) == REGISTERS["HCR_EL2"]:
            hcr = value
        elif kind == TraceKind.FETCH and el == 1 and hcr & routes:
            return hcr, pc
    return None


INTERRUPTS = (
    Rule(
        "interrupt.masked",
        "as long as an exception can be taken, VBAR of its level leads to vectors: mapped, "
        "executable, not overwritten",
        ARM + "D1.3.1: vector tables; series: machine_kexec masks DAIF before the jump",
        Severity.ERROR,
        always,
        _masked,
        "all of DAIF is masked before the vectors get out of reach, and stays so",
    ),
    Rule(
        "interrupt.alignment",
        "a table of vectors is aligned to 2 KiB",
        ARM + "D24.2, VBAR_ELx: bits 10:0 are RES0",
        Severity.ERROR,
        always,
        _aligned,
        "the address is another one, or its low bits were used for something",
    ),
    Rule(
        "interrupt.routed",
        "what comes at EL1 stays there: HCR_EL2 routes nothing to the stub at EL2",
        ARM + "D1.3.6: asynchronous exception routing",
        Severity.NOTE,
        always,
        _routed,
        "PSTATE at EL1 does not mask what goes to EL2; the stub has nothing for it but a loop",
    ),
)
