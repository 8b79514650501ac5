"""Exception level, MMU, TTBR0, TTBR1 and VBAR by instruction count: what is shown of them."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.nouns import dataclass, drawn


@dataclass(frozen=True, slots=True)
class CpuThen:
    """The CPU: level ``el``, and what counts there; a register that nobody recorded is null."""

    el: int
    mmu: bool | None
    ttbr0: int | None
    ttbr1: int | None
    vbar: int | None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """``what`` happened when ``at`` instructions had been begun, by the one at ``pc``.

    ``then`` is the CPU behind it. ``station`` is what is entered here, if this is where a part
    of the way begins or the way ends.
    """

    at: int
    pc: int
    what: str
    then: CpuThen
    place: str | None = field(default=None, metadata=ABSENT)
    station: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class TimelineShown:
    """The way of the machine ``of``, ``instructions`` in all; ``left_out`` entries are missing at
    the end, ``ended`` says how it ended.
    """

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.show.timeline/1"
    DOCUMENT: ClassVar[Table] = shown("of", "instructions", "entries", "ended", "left_out")

    of: str
    instructions: int
    entries: tuple[TimelineEntry, ...]
    ended: str
    left_out: int = 0
