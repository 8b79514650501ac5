"""Sections under way: an input section as a Piece, the Output it goes into, and their bounds.

``matching`` makes them, ``layout`` gives them addresses, ``link`` reads them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import field

from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import Object, Section, SectionFlag, SectionType, SourceLine
from relokit.linker.script.expression import (
    AlignHere,
    Binary,
    Dot,
    Expression,
    Number,
    Ternary,
    Unary,
)
from relokit.linker.script.statements import Assertion, Assignment, Data, Fill, OutputSection

MAX_SECTION = 1 << 30
MAX_GAP = 64 << 20
MAX_SECTION_ALIGN = 1 << 30

# Plain numbers: SectionFlag arithmetic is slow where every section passes.
WRITE = int(SectionFlag.WRITE)
ALLOC = int(SectionFlag.ALLOC)
EXEC = int(SectionFlag.EXEC)

NOWHERE = -1
DISCARDED = -2


@dataclass(slots=True, eq=False)
class Piece:
    """An input section and where it went: ``output`` and ``offset`` in it, in bytes.

    ``moved`` says where its bytes are, if it was merged with others.
    """

    unit: int
    section: Section
    output: int = NOWHERE
    offset: int = 0
    walked: int = 0
    moved: MergedSection | None = None

    def line_at(self, offset: int) -> SourceLine | None:
        """Source line of the byte at ``offset`` of the input section, None if it has none."""
        return self.section.lines.at(offset)


@dataclass(slots=True, eq=False)
class MergedSection:
    """Where the bytes of a merged section are now: ``starts`` are offsets that it had, ascending.

    ``places`` has a piece and an offset in it for each; None for what only filled up.
    """

    piece: Piece
    size: int
    starts: list[int] = field(default_factory=list)
    places: list[tuple[Piece, int] | None] = field(default_factory=list)

    def at(self, offset: int) -> tuple[Piece, int]:
        """The byte that was at ``offset``; LinkError for one that there is not any more."""
        if offset >= self.size:
            return self.piece, self.piece.section.size + offset - self.size
        index = bisect_right(self.starts, offset) - 1
        place = self.places[index] if index >= 0 else None
        if place is None:
            raise LinkError(
                f"a reference to {self.piece.section.name}{offset:+#x}, which is no constant",
                hint="what lies between mergeable constants is not kept; refer to one of them",
            )
        return place[0], place[1] + offset - self.starts[index]


def now_at(piece: Piece, offset: int) -> tuple[Piece, int]:
    """Where the byte at ``offset`` of ``piece`` is, if that was merged with others or not."""
    return (piece, offset) if piece.moved is None else piece.moved.at(offset)


Item = list[Piece] | Assignment | Assertion | Data | Fill


@dataclass(slots=True, eq=False)
class Output:
    """An output section under way. ``gaps`` and ``data`` hold offsets in bytes.

    ``kept``: there is input that the script has in KEEP.
    """

    statement: OutputSection
    items: list[Item]
    load_region: str | None = None
    kept: bool = False
    type: SectionType = SectionType.NOBITS
    flags: SectionFlag = SectionFlag.ALLOC | SectionFlag.WRITE
    vma: int = 0
    lma: int = 0
    size: int = 0
    align: int = 1
    alloc: bool = True
    walked: int = 0
    gaps: list[tuple[int, int, bytes]] = field(default_factory=list)
    data: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def pieces(self) -> list[Piece]:
        """The input sections, in order."""
        return [piece for item in self.items if isinstance(item, list) for piece in item]


def classify(output: Output) -> None:
    """Set type and flags as GNU ld merges them: from the input, empty sections included.

    Without input, a section that begins with data is read-only, one that begins with an
    assignment is not.
    """
    pieces = output.pieces
    stored = [isinstance(item, Data) for item in output.items]
    flags = 0
    for piece in pieces:
        flags |= piece.section.flags
    if True in stored:
        # What a script puts there is to be in memory, whatever is beside it.
        flags |= ALLOC
    if not pieces:
        flags = ALLOC if stored[:1] == [True] else ALLOC | WRITE
    output.flags = SectionFlag(flags & (WRITE | ALLOC | EXEC))
    output.alloc = bool(flags & ALLOC)
    kinds = {piece.section.type for piece in pieces}
    if output.statement.noload:
        output.type = SectionType.NOBITS
    elif kinds == {SectionType.NOTE} and True not in stored:
        output.type = SectionType.NOTE
    elif True in stored or kinds - {SectionType.NOBITS}:
        output.type = SectionType.PROGBITS


def stays_empty(output: Output) -> bool:
    """Whether GNU ld has the section though it is empty.

    So it has where input is to be kept, or the location counter is assigned what may be something.
    """
    return output.kept or any(
        isinstance(item, Assignment) and item.name == "." and not _is_nothing(item.value)
        for item in output.items
    )


def _is_nothing(value: Expression) -> bool:
    """What may be assigned to the counter of an empty section that GNU ld leaves out.

    Where that stays empty, it is 0, ``. + 0`` or ``ALIGN(. != 0 ? x : 1)``.
    """
    match value:
        case Binary("+", Dot(), added):
            return _is_constant(added)
        case AlignHere(Ternary(Binary("!=", Dot(), zero), _, one)):
            return _is_number(zero, 0) and _is_number(one, 1)
    return _is_constant(value)


def _is_number(value: Expression, number: int) -> bool:
    return isinstance(value, Number) and value.value == number


def _is_constant(value: Expression) -> bool:
    match value:
        case Number():
            return True
        case Unary(_, operand):
            return _is_constant(operand)
        case Binary(_, left, right):
            return _is_constant(left) and _is_constant(right)
    return False


def marks_place(output: Output, provided: frozenset[str]) -> bool:
    """Whether an empty section moves the walk: one that stays does, or that assigns a symbol."""
    return stays_empty(output) or any(
        isinstance(item, Assignment)
        and item.name != "."
        and not (item.provide and item.name not in provided)
        for item in output.items
    )


def place_of(objects: Sequence[Object], piece: Piece, offset: int) -> str:
    """Where ``offset`` of a piece comes from, for an error: source line, else object, section."""
    line = piece.line_at(offset)
    if line is not None:
        return str(line)
    return f"{objects[piece.unit].name}:({piece.section.name}+{offset:#x})"
