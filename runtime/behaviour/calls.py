"""Call one routine in a flat machine, once for each trial, and observe how it leaves.

Its code is all there is: whatever else it reaches for, a call, a branch out, data of its own
program, is where a trial ends.
"""

from __future__ import annotations

import hashlib
from time import monotonic

import numpy as np

from relokit.codegen.instruction_forms import BL, BLR, BRK, B
from relokit.runtime.arch.exceptions import ExceptionClass, Policy, class_text
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.behaviour.flat_machine import (
    CALL_SECONDS,
    CODE,
    DATA,
    DATA_SIZE,
    EXCEPTION_RETURN,
    PAGE,
    RETURN,
    STACK,
    STACK_POINTER,
    Callee,
    Level,
    owners,
)
from relokit.runtime.behaviour.observation import (
    DIGEST_SIZE,
    Ending,
    Entered,
    Leaving,
    Observation,
    Written,
)
from relokit.runtime.behaviour.trials import (
    SYSTEM,
    TRIALS,
    Trial,
    initial_data,
    initial_registers,
)
from relokit.runtime.behaviour.watch import Watch, general_registers
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.record.stop import Stop, StopReason

MODEL = "max"
MAX_INSTRUCTIONS = 1 << 20
LEAST_SECONDS = 0.2
"""What a trial gets when those before it have used up CALL_SECONDS."""
MOST_WORDS = 64
CODE_OWNER = "its own code"

_NOTHING = Policy(frozenset())
_CALLS = (ExceptionClass.SVC64, ExceptionClass.HVC64, ExceptionClass.SMC64)
_ENDLESS = (StopReason.SPIN, StopReason.INSTRUCTION_LIMIT)


def observe_calls(callee: Callee) -> tuple[Observation, ...]:
    """One Observation for each of TRIALS; nothing the code does raises."""
    data = initial_data()
    deadline = monotonic() + CALL_SECONDS
    return tuple(
        _call(callee, trial, data, max(LEAST_SECONDS, deadline - monotonic())) for trial in TRIALS
    )


def _call(callee: Callee, trial: Trial, data: Words, seconds: float) -> Observation:
    start = callee.start
    end = start + len(callee.code)
    # Two pieces of memory with nothing between or around them; the engine keeps pointers to both.
    with (
        GuestMemory(CODE, -(-end // PAGE) * PAGE - CODE) as text,
        GuestMemory(DATA, DATA_SIZE) as memory,
    ):
        text.ram.view(np.uint32)[:] = BRK
        text.write(start, callee.code)
        for offset in callee.unresolved:
            text.write(start + offset, BRK.to_bytes(4, "little"))
        before = text.ram.copy()
        memory.words[:] = data
        cpu = Cpu(MODEL, text, policy=_NOTHING)
        # A branch to data ends the trial where it was to go.
        cpu.add_data(memory)
        _set_up(cpu, trial, callee.level)
        watch = Watch(cpu, start, len(callee.code))
        found = watch.system_state()
        with watch:
            stop = cpu.run(
                start + callee.level.entry,
                until=RETURN,
                max_instructions=MAX_INSTRUCTIONS,
                timeout_s=seconds,
            )
        system = watch.system_state()
        pstate, level = cpu.pstate, max(cpu.el, 1)
        written = [*_words(memory, data, cpu.sp)]
        if not np.array_equal(text.ram, before):
            digest = hashlib.blake2b(text.ram.data, digest_size=DIGEST_SIZE).hexdigest()
            written.append(Written(CODE_OWNER, start, len(callee.code), digest))
        return Observation(
            trial=trial.name,
            ending=_ending(cpu, stop, callee),
            counts=watch.counts(stop.instructions),
            el=cpu.el,
            mmu=bool(system[f"SCTLR_EL{level}"] & SCTLR_M),
            flags=pstate >> 28 & 0xF,
            daif=pstate >> 6 & 0xF,
            registers=general_registers(cpu),
            system={name: value for name, value in system.items() if value != found[name]},
            memory=tuple(written),
            jump=Entered(callee.level.el, mmu=False),
        )


def _set_up(cpu: Cpu, trial: Trial, level: Level) -> None:
    for name, value in SYSTEM.items():
        cpu.write(name, value)
    cpu.write("HCR_EL2", level.hcr)
    cpu.set_el(level.el)
    cpu.set_pstate(cpu.pstate & ~(0xF << 28) | trial.flags << 28)
    cpu.set_sp(STACK_POINTER)
    for number, value in enumerate(initial_registers(trial)):
        cpu.set_x(number, value)


def _words(memory: GuestMemory, before: Words, sp: int) -> list[Written]:
    """What changed, owner by owner; what is below SP of the stack is nobody's (AAPCS64)."""
    written = []
    for owner, base, size in owners():
        first = (base - DATA) // 8
        on_stack = base == STACK
        if on_stack and base <= sp <= base + size:
            first, size = first + (sp - base) // 8, size - (sp - base) // 8 * 8
            base += (sp - base) // 8 * 8
        now, then = (words[first : first + size // 8] for words in (memory.words, before))
        changed = np.flatnonzero(now != then)
        if not len(changed):
            continue
        digest = hashlib.blake2b(now[changed].data, digest_size=DIGEST_SIZE)
        digest.update(changed.data)
        pairs = tuple((at * 8, int(now[at])) for at in changed[:MOST_WORDS].tolist())
        text = digest.hexdigest()
        written.append(Written(owner, base, size, text, words=pairs, on_stack=on_stack))
    return written


def _ending(cpu: Cpu, stop: Stop, callee: Callee) -> Ending:
    pc, start = stop.pc, callee.start
    if stop.reason in _ENDLESS:
        return Ending(Leaving.ENDLESS)
    if stop.reason is StopReason.TIMEOUT:
        return Ending(Leaving.TIMEOUT)
    if stop.reason is StopReason.REACHED:
        return Ending(Leaving.RETURN)
    if stop.reason is StopReason.HALTED:
        return Ending(Leaving.WAIT)
    if pc - start in callee.unresolved:
        return _unresolved(callee, pc - start)
    event = stop.event
    if event is not None and event.exception_class in _CALLS:
        return Ending(Leaving.SYSTEM_CALL, None, event.text)
    if pc == EXCEPTION_RETURN:
        return Ending(Leaving.EXCEPTION_RETURN, f"EL{stop.el}")
    if not start <= pc < start + len(callee.code):
        return Ending(Leaving.CALL if _is_call(cpu, callee, pc) else Leaving.BRANCH, pc)
    if stop.access is not None:
        text = f"{stop.access.kind} where there is no memory"
        return Ending(Leaving.FAULT, stop.access.pa, text)
    if event is not None:
        return Ending(Leaving.FAULT, event.far, class_text(event.exception_class))
    return Ending(Leaving.ENGINE, None, stop.detail or str(stop.reason))


def _unresolved(callee: Callee, offset: int) -> Ending:
    word = int.from_bytes(callee.code[offset : offset + 4], "little")
    leaving = (
        Leaving.CALL if BL.holds(word) else Leaving.BRANCH if B.holds(word) else Leaving.UNRESOLVED
    )
    return Ending(leaving, callee.unresolved[offset])


def _is_call(cpu: Cpu, callee: Callee, target: int) -> bool:
    """Whether what was executed last is a BL or BLR to ``target``: LR says where that was."""
    start = callee.start
    at = cpu.x(30) - 4 - start
    if at % 4 or not 0 <= at < len(callee.code):
        return False
    word = int.from_bytes(callee.code[at : at + 4], "little")
    if BL.holds(word):
        offset = word & 0x3FFFFFF
        return start + at + 4 * (offset - (offset >> 25 << 26)) == target
    return BLR.holds(word) and (word >> 5 & 31 == 30 or cpu.x(word >> 5 & 31) == target)
