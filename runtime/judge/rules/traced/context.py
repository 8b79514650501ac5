"""context.*: between an MSR and the next context synchronisation, nothing depends on which value
of the register counts; and errata of the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.judge.model.pending import (
    Pending,
    pending_writes,
    unsynchronised_results,
)
from relokit.runtime.judge.model.pending_uses import HOST, SCTLR_EE, counts_at_entry, first_use
from relokit.runtime.judge.rules.rule import Broken, Check, Rule, always
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
from relokit.runtime.record.trace import Trace, TraceKind

_FORGOTTEN = "an ISB belongs between the MSR and the first use of the register"


def _writes(record: Record) -> Iterator[tuple[Trace, int, Pending]]:
    """Each write with its trace and the VA of its MSR; the first of an instruction and register."""
    trace = known(record.trace)
    for write in pending_writes(trace):
        yield trace, int(trace.records["pc"][write.number]), write
    ask_whole(trace)


def _used(*families: str) -> Check:
    """Each instruction whose write to a register of ``families`` is used too early."""

    def found(record: Record) -> Iterator[Broken]:
        told: set[tuple[int, str]] = set()
        for trace, pc, write in _writes(record):
            if write.family not in families or (pc, write.register) in told:
                continue
            use = first_use(trace, known(record.code), write)
            if use is not None:
                told.add((pc, write.register))
                yield told_at(
                    record,
                    f"{instruction(record, pc)} may not count yet when {write.register} is used: "
                    "nothing synchronises the context between the two",
                    pc,
                    notes=(_values(write), _use(record, trace.records[use])),
                )

    return lambda record: bounded(found(record))


def _values(write: Pending) -> str:
    olds = " or ".join(f"{old:#x}" for old in write.olds) or "what it was"
    return f"{write.register} may still be {olds}, not {write.value:#x}"


def _use(record: Record, row: Any) -> str:
    pc, kind = int(row["pc"]), TraceKind(int(row["kind"]))
    if kind is TraceKind.FETCH:
        return (
            f"the instruction at {placed(record, pc)} is fetched by it: {instruction(record, pc)}"
        )
    return f"{instruction(record, pc)} at {placed(record, pc)} goes by it"


def _entered(record: Record) -> Iterator[Broken]:
    if not record.complete or not record.reached:
        return
    cpu = record.reached[-1]
    for trace, pc, write in _writes(record):
        if not write.open or not counts_at_entry(write, cpu.el, mmu=cpu.mmu):
            continue
        # What was told already, at the same instruction, needs no second finding.
        if first_use(trace, known(record.code), write) is None:
            yield told_at(
                record,
                f"{instruction(record, pc)} may not count yet when the kernel at {cpu.pc:#x} is "
                "entered: nothing synchronises the context before the branch",
                pc,
                notes=(_values(write),),
            )


def _results(record: Record) -> Iterator[Broken]:
    trace = known(record.trace)
    told: set[int] = set()
    for _, number in unsynchronised_results(trace):
        pc = int(trace.records["pc"][number])
        if pc not in told:
            told.add(pc)
            yield told_at(
                record, f"{instruction(record, pc)} may read what was in PAR_EL1 before the AT", pc
            )
    ask_whole(trace)


def _host(record: Record) -> Iterator[Broken]:
    for _, pc, write in _writes(record):
        on = write.before.get("SCTLR_EL2", 0) & SCTLR_M
        if write.family == "HCR" and write.changed & HOST and write.level == 2 and on:
            yield told_at(
                record,
                f"{instruction(record, pc)} changes what EL2's tables are while they translate: "
                "the MMU is on",
                pc,
                notes=(_values(write),),
            )


def _endianness(record: Record) -> Iterator[Broken]:
    for _, pc, write in _writes(record):
        stays_on = write.value & write.before.get(write.register, 0) & SCTLR_M
        if write.family == "SCTLR" and write.changed & SCTLR_EE and stays_on:
            yield told_at(
                record, f"{instruction(record, pc)} turns bytes round with the MMU on", pc
            )


def _falkor(record: Record) -> Iterator[Broken]:
    for trace, pc, write in _writes(record):
        was_on = write.before.get(write.register, 0) & SCTLR_M
        if write.family != "SCTLR" or write.value & SCTLR_M or not was_on:
            continue
        if write.level == write.owner and not _is_behind_isb(trace, write.number):
            yield told_at(
                record,
                f"{instruction(record, pc)} turns the MMU off, and no ISB is right before it",
                pc,
            )


def _is_behind_isb(trace: Trace, number: int) -> bool:
    """Whether the instruction of record ``number`` follows an ISB."""
    records = trace.records
    begun = int(records["before"][number])
    for earlier in range(number - 1, -1, -1):
        if int(records["before"][earlier]) < begun - 1:
            return False
        if records["kind"][earlier] == TraceKind.ISB:
            return True
    return False


def _rule(name: str, must: str, section: str, check: Check, cause: str = _FORGOTTEN) -> Rule:
    return Rule(f"context.{name}", must, ARM + section, Severity.ERROR, always, check, cause)


_WHERE = "D24.1.2.2: synchronization requirements for System registers"

CONTEXT = (
    _rule(
        "mmu",
        "until a write of SCTLR is synchronised, all that happens is right by its old value, too: "
        "with the MMU turned on or off, code at its own PA and no data",
        f"{_WHERE}; D8.2.12",
        _used("SCTLR"),
    ),
    _rule(
        "tables",
        "until a write of TTBR, TCR, MAIR or VTTBR is synchronised, nothing is translated by it",
        _WHERE,
        _used("TTBR0", "TTBR1", "TCR", "MAIR", "VTTBR", "VTCR"),
    ),
    _rule(
        "hypervisor",
        "until a write of HCR_EL2 is synchronised, nothing is named, translated or returned to by "
        "E2H and TGE; an ERET does not come first",
        f"{_WHERE}; D8.17.5.4",
        _used("HCR"),
    ),
    _rule(
        "traps",
        "until a write of CPTR or CPACR is synchronised, nothing is executed that it may trap",
        _WHERE,
        _used("CPTR", "CPACR"),
    ),
    _rule(
        "vectors",
        "an exception that does not synchronise (SCTLR.EIS is 0) is not taken while VBAR is old",
        f"{_WHERE}; FEAT_ExS",
        _used("VBAR"),
    ),
    _rule(
        "entry",
        "what the new kernel starts with is synchronised before it is entered: MMU, byte order, "
        "the host's registers; of a resumed one the tables as well",
        f"{_WHERE}; Documentation/arch/arm64/booting.rst",
        _entered,
        "an ISB belongs between the MSR and the branch",
    ),
    _rule(
        "translation-result",
        "the context is synchronised between an AT and the read of PAR_EL1",
        "D8.2.13.3",
        _results,
        "an ISB belongs between the two",
    ),
    _rule(
        "host",
        "E2H and TGE change at EL2 with the MMU off only",
        "D8.1: translation regimes; arch/arm64/kernel/hyp-stub.S",
        _host,
        "the same tables are read in another way from one instruction to the next",
    ),
    Rule(
        "context.endianness",
        "SCTLR.EE does not change while the MMU is on",
        ARM + "D24.2, SCTLR_EL1.EE",
        Severity.WARNING,
        always,
        _endianness,
        "tables are read in the other byte order from then on; Arm advises against it",
    ),
    Rule(
        "errata.e1041",
        "an ISB is right before the write of SCTLR that turns the MMU off",
        "Kconfig: QCOM_FALKOR_ERRATUM_E1041",
        Severity.WARNING,
        always,
        _falkor,
        "Falkor v1 may fetch by speculation where nothing is mapped; other CPUs do not need it",
    ),
)
