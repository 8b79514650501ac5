"""call.*: HVC and ERET lead where there is somebody, and are heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from relokit.codegen.facts import (
    HVC_FINALISE_EL2,
    HVC_NO_FUNCTION,
    HVC_SET_VECTORS,
    HVC_SOFT_RESTART,
    HVC_STUB_ERR,
)
from relokit.codegen.system_registers import REGISTERS
from relokit.codegen.target import Regime
from relokit.runtime.arch.redirection import reached
from relokit.runtime.arch.register_fields import field
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.rules.made import Used
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
from relokit.runtime.record.trace import TraceKind

_LEVELS = {0b00000: 0, 0b00100: 1, 0b00101: 1, 0b01000: 2, 0b01001: 2}
"""SPSR.M of a return within AArch64, and the level it names (D24.2, SPSR_EL2)."""
_MODE = 0b11111
_FIRST = -6
"""What is nearest to what is wrong."""
_VBAR_EL2 = REGISTERS["VBAR_EL2"]


def _events(record: Record, *kinds: TraceKind) -> Iterator[tuple[int, int, Any]]:
    """HCR_EL2 as it is then, PC and record of each event of ``kinds``."""
    trace = known(record.trace)
    hcr = trace.start.get("HCR_EL2", 0)
    for row in trace.of(TraceKind.MSR, *kinds):
        if row["kind"] != TraceKind.MSR:
            yield hcr, int(row["pc"]), row
        elif reached(int(row["encoding"]), hcr, int(row["el"])) == REGISTERS["HCR_EL2"]:
            hcr = int(row["value"])
    ask_whole(trace)


def _once(check: Check) -> Check:
    """What ``check`` finds, once at each instruction, and not without bounds."""

    def found(record: Record) -> Iterator[Broken]:
        told: set[int | None] = set()
        for broken in check(record):
            if broken.address not in told:
                told.add(broken.address)
                yield broken

    return lambda record: bounded(found(record))


def _calls(record: Record) -> Iterator[Broken]:
    regime = known(record.regime)
    for hcr, pc, row in _events(record, TraceKind.HVC):
        if row["el"] == 2:
            why = "it is made at EL2, and comes back to the vectors of who makes it"
        elif regime is Regime.EL1:
            why = "the kernel was entered at EL1: there is no EL2, or it is another's"
        elif field("HCR_EL2", hcr, "HCD"):
            why = "HCR_EL2.HCD is 1, and makes it UNDEFINED where there is no EL3"
        else:
            continue
        yield told_at(record, f"{instruction(record, pc)} reaches no stub: {why}", pc)


def _refusals(record: Record) -> Iterator[Broken]:
    asked = 0
    for _, pc, row in _events(record, TraceKind.HVC, TraceKind.ERET):
        if row["kind"] == TraceKind.HVC:
            asked = int(row["value"])
        elif row["el"] == 2 and row["value"] == HVC_STUB_ERR and asked != HVC_NO_FUNCTION:
            back = int(row["va"])
            broken = told_at(
                record,
                f"the call before {placed(record, back)} is refused: x0 is {HVC_STUB_ERR:#x}",
                back - 4,
                notes=(f"{instruction(record, pc)} at {placed(record, pc)} says so",),
            )
            yield replace(broken, uses=tuple(_why_refused(asked, pc, back - 4, row)))


def _why_refused(asked: int, pc: int, call: int, row: Any) -> Iterator[Used]:
    """The number, and who looked at it: first the one that the stub should not have come to.

    What x0 and x1 are is the answer; the branches before it are why.
    """
    known_number = asked in (HVC_SET_VECTORS, HVC_SOFT_RESTART)
    yield Used(pc, (), begun=int(row["before"]) + 1, cost=_FIRST - 3 if known_number else 0)
    yield Used(call, (0,), cost=0 if known_number else _FIRST)


def _answers(record: Record) -> Iterator[Broken]:
    asked: int | None = None
    held: Broken | None = None
    written = False
    trace = known(record.trace)
    for row in trace.of(TraceKind.HVC, TraceKind.MSR, TraceKind.ERET):
        pc = int(row["pc"])
        if row["kind"] == TraceKind.HVC:
            # One that is made at EL2 comes to no stub (call.hvc).
            asked, written = (int(row["value"]) if row["el"] == 1 else None), False
            held = None
        elif row["el"] != 2 or asked is None:
            continue
        elif asked > HVC_FINALISE_EL2 and _is_private(record, pc):
            asked = None
        elif row["kind"] == TraceKind.ERET:
            why = _wrong_answer(asked, int(row["value"]), written)
            if held and not _restarts(asked, row):
                yield held
            elif why:
                broken = told_at(record, f"the call of x0 = {asked:#x} {why}", pc)
                answer = Used(registers=(0,), system=("VBAR_EL2",), begun=int(row["before"]))
                yield replace(broken, uses=(answer, Used(pc, ())))
            asked = held = None
        elif row["encoding"] == _VBAR_EL2:
            written = True
            if asked != HVC_SET_VECTORS and not held:
                broken = told_at(
                    record,
                    f"{instruction(record, pc)} is carried out for a call of x0 = {asked:#x}, "
                    f"and only {HVC_SET_VECTORS} asks for it",
                    pc,
                )
                # It is the number that is wrong, or who looked at it.
                held = replace(broken, uses=(Used(pc, (0,)),))
                if asked != HVC_SOFT_RESTART:
                    yield held
                    asked = held = None
    if held:
        yield held
    ask_whole(trace)


def _restarts(asked: int, row: Any) -> bool:
    """Whether an ERET carries out a soft restart, as KVM's vectors do: at EL2, not in the caller.

    It is not expected to return (hyp-abi.rst); what VBAR_EL2 was for is over.
    """
    return asked == HVC_SOFT_RESTART and _LEVELS.get(int(row["encoding"]) & _MODE) == 2


def _is_private(record: Record, pc: int) -> bool:
    """Whether ``pc`` is in EL2 vectors that hibernation had of its own before patch 2.

    They lie in its exit code, which alone calls them: for one thing, with whatever is in x0.
    """
    exits = (one for one in record.regions if one.owner.kind is OwnerKind.EXIT_CODE)
    return any(pc in one for one in exits)


def _wrong_answer(asked: int, answer: int, written: bool) -> str | None:
    """What is wrong with the return of a call, VBAR_EL2 ``written`` or not."""
    if answer == HVC_STUB_ERR and not written:
        # Which functions a stub has is its own matter; a refusal is call.refused.
        return None
    if asked == HVC_SET_VECTORS:
        if not written:
            return "sets vectors, and VBAR_EL2 was not written"
        return f"was carried out, and answers {answer:#x} instead of 0" if answer else None
    if asked <= HVC_FINALISE_EL2:
        return None
    return f"is none that there is, and answers {answer:#x} instead of {HVC_STUB_ERR:#x}"


def _returns(record: Record) -> Iterator[Broken]:
    for hcr, pc, row in _events(record, TraceKind.ERET):
        mode, level = int(row["encoding"]) & _MODE, int(row["el"])
        to = _LEVELS.get(mode)
        if to is None:
            why = "it names no level in AArch64"
        elif to > level:
            why = f"it names EL{to}, above EL{level}"
        elif to == 1 and level == 2 and field("HCR_EL2", hcr, "TGE"):
            why = "it names EL1, which HCR_EL2.TGE takes away"
        elif to == 0:
            why = "it names EL0, where nobody is"
        else:
            continue
        yield told_at(
            record,
            f"{instruction(record, pc)} is no return: SPSR_EL{level}.M is {mode:#07b}, {why}",
            pc,
        )


def _resumptions(record: Record) -> Iterator[Broken]:
    came: dict[int, int] = {}
    asked = HVC_NO_FUNCTION
    for _, pc, row in _events(record, TraceKind.HVC, TraceKind.EXCEPTION, TraceKind.ERET):
        level = int(row["el"])
        if row["kind"] == TraceKind.HVC:
            asked = int(row["value"])
            continue
        if row["kind"] == TraceKind.EXCEPTION:
            came[level] = pc
            continue
        from_, back = came.pop(level, None), int(row["va"])
        if from_ is not None and back != from_ and not _restarts(asked, row):
            yield told_at(
                record,
                f"{instruction(record, pc)} goes to {placed(record, back)}, and what was called or "
                f"interrupted goes on at {placed(record, from_)}",
                pc,
            )


CALLS = (
    Rule(
        "call.hvc",
        "an HVC is made where a stub waits: at EL1, under an EL2 that is the kernel's own and "
        "takes it",
        ARM + "C6.2, HVC; series: is_hyp_nvhe",
        Severity.ERROR,
        always,
        _once(_calls),
        "whether there is a stub was asked wrongly, or not at all",
    ),
    Rule(
        "call.refused",
        "the stub takes every call that is made",
        "arch/arm64/include/asm/virt.h: HVC_STUB_ERR",
        Severity.ERROR,
        always,
        _once(_refusals),
        "x0 holds no function that this stub has",
    ),
    Rule(
        "call.answer",
        "the stub does what the number in x0 says and nothing else, and answers so: 0, or "
        "HVC_STUB_ERR for what it has not",
        "Documentation/virt/kvm/arm/hyp-abi.rst; arch/arm64/include/asm/virt.h",
        Severity.ERROR,
        always,
        _once(_answers),
        "the number of the call, or what the stub makes of it",
        consequence="Whoever calls believes the answer: vectors are taken for installed that are "
        "not, or stay in VBAR_EL2 that nobody asked for, and the next call runs what lies there.",
        hint="compare all of x0 with each function in turn; x0 = 0 where it was carried out, "
        "else HVC_STUB_ERR (0xbadca11), nothing written; then eret",
    ),
    Rule(
        "call.resumes",
        "an ERET goes on where the exception came: behind the call, at what was interrupted",
        ARM + "D1.3.1: the preferred return address",
        Severity.ERROR,
        always,
        _once(_resumptions),
        "ELR is set by the exception; of a call, it is behind the HVC already",
    ),
    Rule(
        "call.return",
        "an ERET returns to a level that there is and that is not above: not to EL0, nor to EL1 "
        "under TGE",
        ARM + "D1.3.4: legal and illegal returns",
        Severity.ERROR,
        always,
        _once(_returns),
        "SPSR was not set, or for another level",
    ),
)
