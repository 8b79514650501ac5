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
    """One translation unit: each line of ``text`` has its origin; one behind the last of
    ``origins`` is from the file ``name`` itself.
    """

    name: str
    text: str
    origins: tuple[Origin, ...]

    @classmethod
    def from_text(cls, name: str, text: str) -> Unit:
        """Wrap a foreign ``.S``."""
        return cls(name, text, ())


@dataclass(frozen=True, slots=True)
class Source:
    """The units of one build and the ld script that places them."""

    units: tuple[Unit, ...]
    script: Unit
