"""What the state of the series promises at the jump into the code that moves."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.judge.rules.rule import Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import known
from relokit.runtime.record.record import JumpFacts, Record


def _moves(record: Record) -> str | None:
    return "nothing is moved: the code that moves is skipped" if record.jump is None else None


def _jump(record: Record) -> JumpFacts:
    assert record.jump is not None
    return known(record.jump)


def _level(record: Record) -> Iterator[Broken]:
    jump = _jump(record)
    el, wanted = jump.cpu.el, known(jump.promise.el)
    if el != wanted:
        yield Broken(
            f"relocation runs at EL{el}, and this state of the series runs it at EL{wanted}",
            address=jump.cpu.pc,
        )


def _mmu(record: Record) -> Iterator[Broken]:
    jump = _jump(record)
    wanted = known(jump.promise.mmu)
    if jump.cpu.mmu != wanted:
        yield Broken(
            f"the MMU is {'off' if wanted else 'on'} during relocation, and this state "
            f"of the series has it {'on' if wanted else 'off'}",
            address=jump.cpu.pc,
        )


RELOCATION = (
    Rule(
        "relocation.el",
        "the move runs at the exception level that the state of the series has for it",
        "series, patch 9: relocate in EL1",
        Severity.ERROR,
        _moves,
        _level,
        "the el2_switch of the soft restart before it",
    ),
    Rule(
        "relocation.mmu",
        "the MMU is on during the move if the state of the series has it on, and off if not",
        "series, patch 12: enable MMU during relocation",
        Severity.ERROR,
        _moves,
        _mmu,
        "the way from machine_kexec to the control page: by a call, or through the "
        "soft restart, which turns the MMU off",
    ),
)
