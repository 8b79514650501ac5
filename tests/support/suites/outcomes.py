"""What may come of comparing one file, or one instruction, with GNU's own answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """SAME and BOTH are right, REFUSED is honest, SPLIT cannot be compared; the last are wrong."""

    SAME = "same"
    BOTH = "both refuse"
    REFUSED = "refused by name"
    SPLIT = "GNU has no answer"
    DIFFERENT = "different"
    ACCEPTED = "accepted though GNU refuses"


WRONG = frozenset({Outcome.DIFFERENT, Outcome.ACCEPTED})


@dataclass(frozen=True)
class Answer:
    """An outcome, and what was said or what differs."""

    outcome: Outcome
    why: str
