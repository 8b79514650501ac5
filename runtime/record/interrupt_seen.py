"""What became of an interrupt; outcomes have it, and are read where no guest runs."""

from __future__ import annotations

from dataclasses import field

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class InterruptSeen:
    """An interrupt that was asked for when ``asked`` instructions had been begun.

    ``raised`` says that there were as many. It was taken to ``el`` before the instruction at VA
    ``pc``, when ``after`` had been begun; all three are None if it was not: masked to the end.
    """

    asked: int
    raised: bool
    after: int | None = field(default=None, metadata=ABSENT)
    pc: int | None = field(default=None, metadata=ABSENT)
    el: int | None = field(default=None, metadata=ABSENT)
