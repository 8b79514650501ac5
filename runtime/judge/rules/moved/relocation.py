"""What the state of the series promises at the jump into the code that moves."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.judge.rules.history import way_to_the_jump
from relokit.runtime.judge.rules.rule import Broken, Rule, before_the_jump
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import Unknown, known
from relokit.runtime.record.memory_facts import Prepared
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
            uses=way_to_the_jump(record),
        )


def _mmu(record: Record) -> Iterator[Broken]:
    jump = _jump(record)
    wanted = known(jump.promise.mmu)
    if jump.cpu.mmu != wanted:
        yield Broken(
            f"the MMU is {'off' if wanted else 'on'} during relocation, and this state "
            f"of the series has it {'on' if wanted else 'off'}",
            address=jump.cpu.pc,
            uses=way_to_the_jump(record),
        )


def _has_vectors(record: Record) -> str | None:
    if isinstance(record.jump, JumpFacts) and record.jump.promise.vectors is None:
        return "no vectors are copied for the move in this state or regime"
    return _moves(record)


def _vectors(record: Record) -> Iterator[Broken]:
    jump = _jump(record)
    held, wanted = known(jump.cpu.register("VBAR_EL2")), jump.promise.vectors
    assert wanted is not None
    prepared = record.prepared
    if isinstance(prepared, Prepared):
        word = prepared.word("el2_vectors")
        # What kimage says wrongly is told of kimage.
        if word is not None and not isinstance(word.wanted, Unknown) and word.held != word.wanted:
            return
    if held != known(wanted):
        yield Broken(
            f"VBAR_EL2 is {held:#x} at the jump, and the vectors that survive the move are at "
            f"{known(wanted):#x}",
            address=jump.cpu.pc,
            uses=way_to_the_jump(record, "VBAR_EL2"),
        )


RELOCATION = (
    Rule(
        "relocation.el",
        "the move runs at the exception level that the state of the series has for it",
        "series, patch 9: relocate in EL1",
        Severity.ERROR,
        _moves,
        before_the_jump(_level),
        "the el2_switch of the soft restart before it",
    ),
    Rule(
        "relocation.mmu",
        "the MMU is on during the move if the state of the series has it on, and off if not",
        "series, patch 12: enable MMU during relocation",
        Severity.ERROR,
        _moves,
        before_the_jump(_mmu),
        "the way from machine_kexec to the control page: by a call, or through the "
        "soft restart, which turns the MMU off",
    ),
    Rule(
        "relocation.vectors",
        "the copy of the EL2 vectors is installed before the jump: the old kernel's own may be "
        "overwritten by then",
        "series, patches 2 and 8; arch/arm64/kernel/machine_kexec.c",
        Severity.ERROR,
        _has_vectors,
        before_the_jump(_vectors),
        "HVC_SET_VECTORS was not called, was refused, or had another address",
    ),
)
