"""What somebody wants to see, and of which moment."""

from __future__ import annotations

from enum import StrEnum

from relokit.codegen.base.nouns import dataclass


class Topic(StrEnum):
    """What there is to see."""

    MEMORY = "memory"


class Moment(StrEnum):
    """When: as machine_kexec is called, as what moves is entered, or as the new kernel is."""

    START = "start"
    JUMP = "jump"
    KERNEL = "kernel"

    @property
    def told(self) -> str:
        """In words."""
        return _TOLD[self]


_TOLD = {
    Moment.START: "as machine_kexec is called",
    Moment.JUMP: "as the code that moves is entered",
    Moment.KERNEL: "as the new kernel is entered",
}


@dataclass(frozen=True, slots=True)
class Question:
    """``topic`` at ``moment``."""

    topic: Topic
    moment: Moment = Moment.START
