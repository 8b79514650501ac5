"""Code and vectors as they are in guest RAM: what is shown of them."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.nouns import dataclass, drawn


@dataclass(frozen=True, slots=True)
class CodeWord:
    """The instruction ``word`` at ``address``, as ``text``; ``symbol`` begins there.

    ``source`` is the line it was made from, where that is known. ``times`` is how often it was
    carried out, where that was counted.
    """

    address: int
    word: int
    text: str
    symbol: str | None = field(default=None, metadata=ABSENT)
    source: str | None = field(default=None, metadata=ABSENT)
    times: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class CodePiece:
    """A piece of code called ``name``, from ``address`` on: a VA or PA, as the CPU fetches it."""

    name: str
    address: int
    lines: tuple[CodeWord, ...]


@dataclass(frozen=True, slots=True)
class CodeShown:
    """Code of the machine ``of`` at ``moment``."""

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.show.code/1"
    DOCUMENT: ClassVar[Table] = shown("of", "moment", "pieces")

    of: str
    moment: str
    pieces: tuple[CodePiece, ...]


@dataclass(frozen=True, slots=True)
class VectorSlot:
    """What is executed for exceptions of this ``name``, at ``offset`` from VBAR.

    ``same`` is the offset of an earlier slot with the same bytes, whose code is not told again.
    """

    offset: int
    name: str
    lines: tuple[CodeWord, ...]
    same: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class VectorTable:
    """The vectors of ``register``, which holds ``va``: at PA ``pa``, whose page ``owner`` has.

    ``pa`` is null where they cannot be fetched; ``problem`` says why then.
    """

    register: str
    va: int
    pa: int | None
    slots: tuple[VectorSlot, ...]
    owner: str | None = field(default=None, metadata=ABSENT)
    problem: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class VectorsShown:
    """The vectors of the machine ``of`` that are in force at ``moment``, the current level's first.

    ``el`` is that level.
    """

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.show.vectors/1"
    DOCUMENT: ClassVar[Table] = shown("of", "moment", "el", "tables")

    of: str
    moment: str
    el: int
    tables: tuple[VectorTable, ...]
