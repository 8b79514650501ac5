"""The registers before each of some instructions: one at a time, and so for few of them only."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from unicorn import unicorn_const as u

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.stop import StopReason


@dataclass(frozen=True, slots=True)
class Before:
    """The CPU before an instruction: ``number`` were begun ahead of it. ``x`` are x0 to x30.

    ``word`` is None where nobody could read it.
    """

    number: int
    pc: int
    word: int | None
    x: tuple[int, ...]
    sp: int
    pstate: int


class Stepper:
    """While it is entered, what is before the instructions of ``cpu`` from number ``first`` on.

    No more than ``most`` are kept, and none behind one, but for the first, that is at the end:
    ``ends`` is asked of its PC; ``ended`` says that it came. A call of Python each: some 20 us.
    """

    def __init__(
        self, cpu: Cpu, first: int, most: int, ends: Callable[[int], bool] | None = None
    ) -> None:
        self._cpu, self._first, self._most, self._ends = cpu, first, most, ends
        self.ended = False
        self._hook: Any = None
        self.seen: list[Before] = []

    def __enter__(self) -> Self:
        self._hook = self._cpu.uc.hook_add(u.UC_HOOK_CODE, self._look)
        self._cpu.flush_code()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cpu.uc.hook_del(self._hook)
        self._cpu.flush_code()

    def _look(self, _: Any, pc: int, *__: Any) -> None:
        cpu = self._cpu
        number = cpu.count.done_at(pc)
        if number < self._first or len(self.seen) == self._most or self.ended:
            return
        # An instruction that the engine begins twice is told once.
        if self.seen and self.seen[-1].number == number:
            self.seen.pop()
        word = cpu.instruction_at(pc)
        self.seen.append(Before(number, pc, word, cpu.registers, cpu.sp, cpu.pstate))
        if self._ends is not None and number > self._first and self._ends(pc):
            self.ended = True
            cpu.stop(StopReason.REACHED)
