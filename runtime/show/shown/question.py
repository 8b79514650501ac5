"""What somebody wants to see, and of which moment."""

from __future__ import annotations

from enum import StrEnum

from relokit.codegen.base.nouns import dataclass


class Topic(StrEnum):
    """What there is to see."""

    MEMORY = "memory"
    LIST = "list"
    TABLES = "tables"
    VECTORS = "vectors"
    CODE = "code"
    TIMELINE = "timeline"
    TRACE = "trace"


class Moment(StrEnum):
    """When: before the first step (machine_kexec's, or where a snapshot was taken), as what moves
    is entered, or as the new kernel is."""

    START = "start"
    JUMP = "jump"
    KERNEL = "kernel"

    @property
    def told(self) -> str:
        """In words."""
        return _TOLD[self]


_TOLD = {
    Moment.START: "before the first step",
    Moment.JUMP: "as the code that moves is entered",
    Moment.KERNEL: "as the new kernel is entered",
}


@dataclass(frozen=True, slots=True)
class Question:
    """``topic`` at ``moment``.

    ``place`` is an address or the name of a symbol: what is walked to, or disassembled. Entries of
    a list and steps of a run are shown from number ``first`` to ``last``, from 0; None: as many as
    fit a screen or two. ``until`` ends steps before the one at this address or symbol.
    """

    topic: Topic
    moment: Moment = Moment.START
    place: int | str | None = None
    first: int = 0
    last: int | None = None
    until: int | str | None = None
