"""The engine brought to other habits: what it executes at a time, and when it forgets translations.

None of it changes what the guest does, so none may change what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from unicorn import Uc
from unicorn import unicorn_const as u

from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.engines import Engine
from relokit.runtime.engine.spinning import WFI
from relokit.runtime.run import prepare

Undo = Callable[[], None]
Habit = Callable[[Cpu], Undo]
"""Gives a CPU the habit, and returns what takes it away again."""
BARRIERS = {0xD503309F, 0xD50330BF, 0xD50330DF}
"""DSB, DMB, ISB: the words without CRm."""


def single_steps(cpu: Cpu) -> Undo:
    """Blocks of one instruction."""
    start = cpu.uc.emu_start
    # Else a stop takes effect at the end of a block only.
    cpu._faults.check_for_stops(True)
    waits: dict[int, bool] = {}

    def step(pc: int, until: int, *rest: Any, **more: Any) -> None:
        while pc != until:
            if pc not in waits:
                waits[pc] = cpu.instruction_at(pc) == WFI
            start(pc, until, count=1)
            # That a step was a wait is not said by the engine: it comes back from either.
            if waits[pc] or cpu.count.reason or cpu._pending or cpu.mmu.doomed:
                return
            pc = cpu.pc

    cpu.uc.emu_start = step
    return lambda: delattr(cpu.uc, "emu_start")


def _flushing(cpu: Cpu, wanted: Callable[[int | None], bool]) -> Undo:
    words: dict[int, bool] = {}

    def flush(_uc: object, pc: int, *_: object) -> None:
        if pc not in words:
            words[pc] = wanted(cpu.instruction_at(pc))
        if words[pc]:
            cpu.flush_tlb()

    hook = cpu.uc.hook_add(u.UC_HOOK_CODE, flush)
    return lambda: cpu.uc.hook_del(hook)


def forgetting_at_barriers(cpu: Cpu) -> Undo:
    """No translation outlives a barrier."""
    return _flushing(cpu, lambda word: (word or 0) & 0xFFFFF0FF in BARRIERS)


def forgetting_always(cpu: Cpu) -> Undo:
    """No translation outlives an instruction: what is walked for, and when, is another order."""
    return _flushing(cpu, lambda _: True)


HABITS: Mapping[str, Habit] = {
    "single steps": single_steps,
    "forgets at barriers": forgetting_at_barriers,
    "forgets always": forgetting_always,
}


@contextmanager
def with_habit(habit: Habit | None) -> Iterator[None]:
    """Every CPU made while this is entered has ``habit``; its engine is given back without."""
    make, give_back = prepare.cpu_in_state, Engine.give_back
    undo: dict[Uc, Undo] = {}

    def made(*args: Any) -> Cpu:
        cpu = make(*args)
        if habit:
            undo[cpu.uc] = habit(cpu)
        return cpu

    def given_back(engine: Engine) -> None:
        if engine.uc in undo:
            undo.pop(engine.uc)()
        give_back(engine)

    with (
        patch.object(prepare, "cpu_in_state", made),
        patch.object(Engine, "give_back", given_back),
    ):
        yield
