"""Source: rendered GNU-as text in which every line knows its template and line."""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The template (or foreign ``.S``) and 1-based line that a rendered line came from."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Unit:
    """One translation unit: ``text`` has ``len(origins)`` lines, each with its origin."""

    name: str
    text: str
    origins: tuple[Origin, ...]

    @classmethod
    def from_text(cls, name: str, text: str) -> Unit:
        """Wrap a foreign ``.S``: each line is its own origin."""
        count = text.count("\n") + (not text.endswith("\n"))
        return cls(name, text, tuple(Origin(name, n) for n in range(1, count + 1)))


@dataclass(frozen=True, slots=True)
class Source:
    """The units of one build and the ld script that places them."""

    units: tuple[Unit, ...]
    script: Unit
