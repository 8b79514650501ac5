"""Facts that may be unknown: typed, never a default that looks like an answer."""

from __future__ import annotations

from typing import TypeVar

from relokit.codegen.base.nouns import dataclass

Fact = TypeVar("Fact")


@dataclass(frozen=True, slots=True)
class Unknown:
    """Takes the place of a fact that a record does not have; ``why`` says why, in words."""

    why: str


class UnknownFactError(Exception):
    """A fact was asked for that the record does not have. Its text is the reason."""


def known(fact: Fact | Unknown) -> Fact:
    """``fact``, if it is known; raises UnknownFactError with the reason if it is not."""
    if isinstance(fact, Unknown):
        raise UnknownFactError(fact.why)
    return fact
