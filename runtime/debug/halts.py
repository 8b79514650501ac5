"""Why a guest that is debugged stands still, and what it is made of."""

from __future__ import annotations

from enum import StrEnum

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.stop import Stop


@dataclass(frozen=True, slots=True)
class Ready:
    """A guest and its CPU, before the first step; ``jump`` is the code that moves, if any does.

    The way ends before the instruction at ``end``, or after ``most`` of them.
    """

    guest: Machine | Resume
    cpu: Cpu
    jump: int | None
    end: int
    most: int


class HaltCause(StrEnum):
    """Why it has halted."""

    STEP = "a step is done"
    BREAKPOINT = "a breakpoint"
    WATCHPOINT = "a watchpoint"
    INTERRUPTED = "interrupted"
    START = "the start"
    OVER = "over"


class WatchKind(StrEnum):
    """Which accesses a watchpoint is for, by what GDB calls it."""

    WRITE = "watch"
    READ = "rwatch"
    ACCESS = "awatch"


@dataclass(frozen=True, slots=True)
class Watchpoint:
    """``size`` bytes at VA ``va``, within a page."""

    kind: WatchKind
    va: int
    size: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Where it stands still, and why: the watchpoint that was hit, or how the way has ended."""

    cause: HaltCause
    text: str | None = None
    watched: Watchpoint | None = None
    stop: Stop | None = None
