"""How a run of the CPU ended."""

from __future__ import annotations

from enum import StrEnum

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch.exceptions import ExceptionEvent


class StopReason(StrEnum):
    """Why a run ended."""

    REACHED = "reached"
    EXCEPTION = "stray exception"
    BAD_VECTOR = "unusable vector"
    UNMAPPED = "access outside RAM and devices"
    SPIN = "branch to itself"
    INSTRUCTION_LIMIT = "instruction limit"
    TIMEOUT = "timeout"
    HALTED = "waits for an interrupt"
    POWERED_OFF = "powered off"
    STORM = "one exception after the other"
    PRINTED = "printed what was expected"
    PANICKED = "panicked"
    ENGINE = "engine error"


_WORD = 4
NO_ANSWERS = frozenset({StopReason.TIMEOUT, StopReason.ENGINE})
"""Ends that say something of the host or of the engine, and nothing of the code."""


@dataclass(frozen=True, slots=True)
class BusAccess:
    """A physical access that nothing answers. ``kind`` is read, write or fetch."""

    kind: str
    pa: int
    size: int
    value: int


@dataclass(frozen=True, slots=True)
class Stop:
    """How a run ended.

    ``pc`` is the next instruction (the faulting one, for an exception). ``instructions``
    counts completed ones, exactly, except after TIMEOUT (up to one block too many).
    ``exceptions`` counts those delivered to the guest; ``event`` is the last one seen, delivered
    or not. ``seconds`` is wall time inside the engine.
    """

    reason: StopReason
    pc: int
    el: int
    instructions: int
    blocks: int
    exceptions: int
    seconds: float
    event: ExceptionEvent | None = None
    access: BusAccess | None = None
    detail: str | None = None

    @property
    def at(self) -> int:
        """VA of the instruction that ended it: the call or the WFI, where ``pc`` is behind it."""
        if self.reason is StopReason.HALTED:
            return self.pc - _WORD
        if self.reason is StopReason.EXCEPTION and self.event:
            return self.event.raised_at
        return self.pc
