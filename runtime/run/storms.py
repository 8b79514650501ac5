"""Exceptions without end: a storm is known by what comes again, and bounded in instructions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import ClassVar

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch.exceptions import (
    DATA_ABORTS,
    INSTRUCTION_ABORTS,
    ExceptionClass,
    ExceptionEvent,
)
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.stop import StopReason


@dataclass(frozen=True, slots=True)
class _Sign:
    """So many times the ``same`` (of an event and the registers), among as many in a row."""

    same: Callable[[ExceptionEvent, Cpu], Hashable]
    times: int
    among: int


_SIGNS = (
    # The state repeats: nothing will change.
    _Sign(
        lambda event, cpu: (event.return_address, event.esr, event.far, cpu.registers),
        1 << 10,
        1 << 12,
    ),
    # The same fault of the same instruction, whatever else counts on.
    _Sign(lambda event, _: (event.return_address, event.esr, event.far), 1 << 13, 1 << 15),
)


class Storm:
    """Stops ``cpu`` in a storm: the same exceptions again and again, or no more than exceptions.

    Aborts, BRK and what is undefined count; a call is no trouble, and EL0 may do as it likes. A
    kernel that maps what is asked for comes on: the addresses are others, and each costs it more
    than the instructions in ``APART``.
    """

    MANY, APART = 1 << 15, 1 << 8
    """No more than exceptions: so many, so few instructions apart (8 million together)."""
    _CLASSES: ClassVar = (
        DATA_ABORTS | INSTRUCTION_ABORTS | {ExceptionClass.UNKNOWN, ExceptionClass.BRK64}
    )

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._left = [sign.among for sign in _SIGNS]
        self._seen: list[Counter[Hashable]] = [Counter() for _ in _SIGNS]
        self._in_a_row = self._begun = 0

    def __call__(self, event: ExceptionEvent) -> None:
        """One more."""
        if not event.source_el or event.exception_class not in self._CLASSES:
            return
        if self._repeats(event) or self._is_all():
            self._cpu.stop(StopReason.STORM)

    def _repeats(self, event: ExceptionEvent) -> bool:
        found = False
        for number, sign in enumerate(_SIGNS):
            seen = self._seen[number]
            if not self._left[number]:
                seen.clear()
                self._left[number] = sign.among
            self._left[number] -= 1
            same = sign.same(event, self._cpu)
            seen[same] += 1
            found |= seen[same] == sign.times
        return found

    def _is_all(self) -> bool:
        now = self._cpu.instructions
        if now - self._begun > self._in_a_row * self.APART:
            self._in_a_row, self._begun = 0, now
        self._in_a_row += 1
        return self._in_a_row == self.MANY
