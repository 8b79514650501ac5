"""Who owns guest RAM, and which pages go where: what is shown of it."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.nouns import dataclass, drawn

FREE = "free"


@dataclass(frozen=True, slots=True)
class RamBank:
    """``bytes`` of RAM from PA ``base``."""

    base: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RamPiece:
    """``bytes`` from PA ``base`` that ``owner`` has, as it is shown; ``kind`` is which kind.

    ``changed`` says whether they are others than as machine_kexec was called; None where nobody
    has looked.
    """

    base: int
    bytes: int
    owner: str
    kind: str
    changed: bool | None = field(default=None, metadata=ABSENT)

    @property
    def end(self) -> int:
        """First PA after it."""
        return self.base + self.bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """Segment ``name``: ``bytes`` of memory at PA ``base``, ``pages`` of it by the list.

    Their sources lie from PA ``low`` to ``high`` in ``runs`` that ascend; ``at_home`` of them are
    where they belong already. ``low`` is None where nothing is copied,
    and where nobody knows. ``right`` is how many pages hold what they should, where they were
    compared.
    """

    name: str
    base: int
    bytes: int
    pages: int
    low: int | None = None
    high: int | None = None
    runs: int = 0
    at_home: int = 0
    right: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class MemoryShown:
    """RAM of the machine ``of`` at ``moment``: ``pieces`` and what is free between them ascend.

    ``problem`` says why the list cannot be followed, if it cannot: there are no sources then.
    """

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.show.memory/1"
    DOCUMENT: ClassVar[Table] = shown(
        "of", "moment", "page_size", "banks", "pieces", "moves", "problem"
    )

    of: str
    moment: str
    page_size: int
    banks: tuple[RamBank, ...]
    pieces: tuple[RamPiece, ...]
    moves: tuple[Moved, ...]
    problem: str | None = field(default=None, metadata=ABSENT)
