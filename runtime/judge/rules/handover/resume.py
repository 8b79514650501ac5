"""What the resumed kernel goes on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from relokit.runtime.judge.rules.handover.provenance import called_with, located, mask_writer
from relokit.runtime.judge.rules.history import set_since_the_jump
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.rule import Broken, Check, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import Unknown, UnknownFactError, known
from relokit.runtime.record.record import Record
from relokit.runtime.record.stations import CpuFacts, Promise, StationRole

_INTERRUPTS = 0b0011
"""I and F of PSTATE.DAIF, D being its bit 3."""
_CACHES = 1 << 12 | 1 << 2
"""SCTLR_ELx.I and C."""
HIBERNATE_CODE = "arch/arm64/kernel/hibernate-asm.S: swsusp_arch_suspend_exit"


def _resumes(record: Record) -> str | None:
    if any(promise.role is StationRole.RESUMED for promise in record.promises):
        return None
    return "no hibernated kernel is resumed"


def _has_vectors(record: Record) -> str | None:
    if _resumes(record) is None and record.promises[-1].vectors is None:
        return "no stub waits at EL2 in this regime"
    return _resumes(record)


def _compared(
    what: Callable[[CpuFacts], str],
    got: Callable[[CpuFacts], int | Unknown],
    wanted: Callable[[Promise], int | Unknown | None],
    system: Callable[[CpuFacts], str],
) -> Check:
    def check(record: Record) -> Iterator[Broken]:
        for number, promise, cpu in record.stations():
            want = wanted(promise)
            if want is None:
                continue
            found, expected = known(got(cpu)), known(want)
            if found != expected:
                yield Broken(
                    f"{what(cpu)} is {found:#x} where the resumed kernel goes on, not "
                    f"{expected:#x}",
                    address=cpu.pc,
                    station=number,
                    uses=_uses(record, number, system(cpu)),
                )
        if not record.complete:
            raise UnknownFactError("the resumed kernel was never entered")

    return check


def _masked(record: Record) -> Iterator[Broken]:
    """D and A may be open: local_irq_disable leaves them so, and their vectors are there."""
    for number, _, cpu in record.stations():
        if cpu.daif & _INTERRUPTS != _INTERRUPTS:
            message = (
                f"PSTATE.DAIF is {cpu.daif:04b} where the resumed kernel goes on: I and F must be "
                "masked"
            )
            yield located(record, message, number, mask_writer(record))
    if not record.complete:
        raise UnknownFactError("the resumed kernel was never entered")


def _uses(record: Record, number: int, system: str) -> tuple[Used, ...]:
    """The register's last writer, and the way out: a call that did not come, or was another.

    Where the code that was judged has had it written, it is not the call that is wrong.
    """
    way = called_with(record, number)
    written = set_since_the_jump(record, system)
    made = Used(system=(system,), begun=record.begun(number), cost=-2 if written else 2)
    if way is None:
        return (made,)
    if not way.by_call:
        return made, Used(way.pc, ())
    return made, *(replace(one, cost=2 if written else 0) for one in way.uses or ())


RESUME = (
    Rule(
        "resume.el",
        "the resumed kernel goes on at the exception level it was hibernated at",
        HIBERNATE_CODE,
        Severity.ERROR,
        _resumes,
        _compared(
            lambda cpu: "exception level",
            lambda cpu: cpu.el,
            lambda promise: promise.el,
            lambda cpu: f"SPSR_EL{cpu.level}",
        ),
        "the exit code changed level on its way out: an ERET or an HVC too many",
    ),
    Rule(
        "resume.ttbr1",
        "TTBR1 holds the resumed kernel's own tables, no more the copy of the linear map",
        HIBERNATE_CODE,
        Severity.ERROR,
        _resumes,
        _compared(
            lambda cpu: f"TTBR1_EL{cpu.level}",
            lambda cpu: cpu.register(f"TTBR1_EL{cpu.level}"),
            lambda promise: promise.ttbr1,
            lambda cpu: f"TTBR1_EL{cpu.level}",
        ),
        "the exit code's last argument for tables, or the switch after the copy",
    ),
    Rule(
        "resume.mmu",
        "the MMU is on where the resumed kernel goes on",
        HIBERNATE_CODE,
        Severity.ERROR,
        _resumes,
        _compared(
            lambda cpu: f"SCTLR_EL{cpu.level}.M",
            lambda cpu: int(cpu.mmu),
            lambda promise: promise.mmu,
            lambda cpu: f"SCTLR_EL{cpu.level}",
        ),
        "SCTLR was written on the way: nothing of a resume turns the MMU off",
    ),
    Rule(
        "resume.caches",
        "data and instruction caches are on where the resumed kernel goes on",
        "ARM DDI 0487, D7.5.5: accesses with SCTLR_ELx.C or I clear are Non-cacheable; "
        + HIBERNATE_CODE
        + " cleans to the point of unification only",
        Severity.ERROR,
        _resumes,
        _compared(
            lambda cpu: f"SCTLR_EL{cpu.level}.C and I",
            lambda cpu: cpu.sctlr & _CACHES,
            lambda promise: _CACHES if promise.mmu else None,
            lambda cpu: f"SCTLR_EL{cpu.level}",
        ),
        "SCTLR was written on the way: nothing of a resume turns caches off",
    ),
    Rule(
        "resume.masked",
        "interrupts and fast interrupts are masked where the resumed kernel goes on",
        "arch/arm64/kernel/hibernate.c: swsusp_arch_suspend masks all before it saves its state, "
        "kernel/power/hibernate.c: resume_target_kernel disables interrupts",
        Severity.ERROR,
        _resumes,
        _masked,
        "DAIF was not masked before the exit code, or unmasked in it",
    ),
    Rule(
        "resume.vectors",
        "VBAR_EL2 holds the resumed kernel's own vectors again",
        "series, patch 2; arch/arm64/kernel/hibernate-asm.S",
        Severity.ERROR,
        _has_vectors,
        _compared(
            lambda cpu: "VBAR_EL2",
            lambda cpu: cpu.register("VBAR_EL2"),
            lambda promise: promise.vectors,
            lambda cpu: "VBAR_EL2",
        ),
        "HVC_SET_VECTORS was not called after the copy, or with another address",
    ),
)
