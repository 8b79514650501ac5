"""A stretch of the way, instruction by instruction: what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass, drawn
from relokit.runtime.show.shown.question import Question

USUAL = 64
"""Steps that are shown where nobody says how many."""
MOST = 10_000
"""Steps that are shown at most."""


@dataclass(frozen=True, slots=True)
class Step:
    """Instruction ``number``, from 0 at machine_kexec: ``text`` at ``pc``, at level ``el``.

    ``changed`` are the registers that have another value behind it, by name; ``did`` is what a
    stored trace says of it. ``place`` is the symbol, with the source line where it is known.
    """

    number: int
    pc: int
    el: int
    text: str
    changed: Mapping[str, int] = field(default_factory=dict, metadata=ABSENT)
    place: str | None = field(default=None, metadata=ABSENT)
    did: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class StepsShown:
    """Steps of the machine ``of``; ``ended`` says why there are no more of them."""

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.show.trace/1"
    DOCUMENT: ClassVar[Table] = shown("of", "first", "steps", "ended")

    of: str
    first: int
    steps: tuple[Step, ...]
    ended: str


def steps_asked(question: Question) -> int:
    """How many steps ``question`` asks for at most; MachineError for none, and for too many."""
    most = MOST if question.until is not None else USUAL
    if question.last is not None:
        most = question.last - question.first + 1
    if not 1 <= most <= MOST:
        raise MachineError(f"{most:,} steps", hint=f"give 1 to {MOST:,} of them")
    return most
