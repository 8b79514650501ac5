"""Mutant: one thing that is wrong, in code or in data, and by which operator."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass


class RoutineName(StrEnum):
    """What mutants are made of: a routine, or DATA, what the relocation reads."""

    RELOCATION = "relocation"
    VECTORS = "vectors"
    SOFT_RESTART = "soft-restart"
    HIBERNATE_EXIT = "hibernate-exit"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class WordEdit:
    """The instruction at link-time VA ``va`` becomes ``word``."""

    va: int
    word: int


class DataPlace(StrEnum):
    """A word of struct kimage, an entry of its list, an entry of the tables during the move."""

    FIELD = "field"
    ENTRY = "entry"
    DESCRIPTOR = "descriptor"


@dataclass(frozen=True, slots=True)
class DataEdit:
    """What is changed in a machine that is ready to go; where, as every layout has it."""

    place: DataPlace
    name: str
    change: str

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.place} {self.name}: {self.change}"


@dataclass(frozen=True, slots=True)
class Mutant:
    """``edits`` are the words that differ. ``text`` says what was made of what, as disassembly.

    ``place`` is the first changed instruction's, as findings call it. ``layouts`` are those in
    which the good code executes one of them. Of DATA, ``data`` is changed instead.

    ``after`` and ``before`` are the instructions between which it is. ``independent`` says that
    only the order differs, of instructions whose operands show that it does not matter.
    """

    id: str
    operator: str
    routine: RoutineName
    place: str
    text: str
    layouts: tuple[str, ...]
    edits: tuple[WordEdit, ...] = ()
    data: DataEdit | None = field(default=None, metadata=ABSENT)
    after: str = field(default="", metadata=ABSENT)
    before: str = field(default="", metadata=ABSENT)
    independent: bool = field(default=False, metadata=ABSENT)


class MutantStatus(StrEnum):
    """What became of a mutant: NO_ANSWER where the host's limits ended it, which kills nothing."""

    KILLED = "killed"
    SURVIVED = "survived"
    NO_ANSWER = "no answer"


class FindingPlace(StrEnum):
    """Where the first finding is, seen from the mutated instructions.

    AT one of them; NAMED: elsewhere, but it names one, in its text or as what made it so; SHOWN:
    one is in its listing; MISSED: it says who has set last, close by or before the jump, what one
    that is changed would have set; BESIDE: it is at, or names, what is next to a dropped one.
    """

    AT = "at"
    NAMED = "named"
    SHOWN = "shown"
    MISSED = "missed"
    BESIDE = "beside"
    ELSEWHERE = "elsewhere"


class Likeness(StrEnum):
    """What the model of the rules cannot tell apart, of a survivor and the good code.

    EFFECTS: every access, barrier and register write, in their order. STATE: what is handed over:
    registers, RAM and what caches may hold of it. NONE: they differ, and no rule is broken.
    """

    EFFECTS = "same effects"
    STATE = "same state"
    NONE = "differs"


@dataclass(frozen=True, slots=True)
class MutantResult:
    """``layout`` is where that was seen, ``rule`` killed first, ``rules`` are all that did there.

    ``found`` is the first finding's message and ``at`` its place; ``rank`` which of what made it so
    a mutated instruction is, counted from 1, where that names it. ``warnings`` are the rules that
    warned in any layout, though not of the good code, and ``not_judged`` those that could not tell:
    of survivors. ``likeness`` is how a survivor differs from the good code, in all scenes. ``why``
    says why there is no answer.
    """

    id: str
    status: MutantStatus
    layout: str | None = field(default=None, metadata=ABSENT)
    rule: str | None = field(default=None, metadata=ABSENT)
    place: FindingPlace | None = field(default=None, metadata=ABSENT)
    found: str | None = field(default=None, metadata=ABSENT)
    at: str | None = field(default=None, metadata=ABSENT)
    rules: tuple[str, ...] = field(default=(), metadata=ABSENT)
    warnings: tuple[str, ...] = field(default=(), metadata=ABSENT)
    not_judged: tuple[str, ...] = field(default=(), metadata=ABSENT)
    likeness: Likeness | None = field(default=None, metadata=ABSENT)
    why: str | None = field(default=None, metadata=ABSENT)
    rank: int | None = field(default=None, metadata=ABSENT)
