"""Orphans: allocated input sections that no pattern of the script took, placed as GNU ld does.

An orphan joins the output section of its name if there is one that is like it. Else it gets one of
its own, behind what is most like it: the section that is usual for its kind, or the last one in the
script that differs least (GNU ld's manual, "Orphan Sections"; what it says nothing of was tried).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from enum import Enum

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import SectionFlag, SectionType
from relokit.linker.elf_format import COMMON
from relokit.linker.link.sections import Output, Piece, classify
from relokit.linker.script.statements import Assignment, OutputSection, Script, Statement

MAX_ORPHANS = 4096


class Kind(Enum):
    """Orphans that stand together; the value is the usual section they stand behind, if any."""

    CODE = ".text"
    READ_ONLY = ".rodata"
    DATA = ".data"
    ZEROS = ".bss"
    NOTES = ".interp"


@dataclass(frozen=True, slots=True)
class Traits:
    """What counts of a section when places are compared."""

    stored: bool
    writable: bool
    code: bool

    @property
    def kind(self) -> Kind:
        """The orphans that it stands with, notes aside."""
        if not self.stored:
            return Kind.ZEROS
        if self.writable:
            return Kind.DATA
        return Kind.CODE if self.code else Kind.READ_ONLY


@dataclass(slots=True)
class _Places:
    statements: list[Statement]
    outputs: list[Output]
    named: dict[str, list[Output]]
    last: dict[Kind, OutputSection] = field(default_factory=dict)


def place_orphans(
    orphans: Sequence[Piece], script: Script, outputs: Sequence[Output]
) -> tuple[tuple[Statement, ...], list[Output]]:
    """Statements and output sections with those that ``orphans`` need, in the script's order."""
    named: dict[str, list[Output]] = {}
    for output in outputs:
        named.setdefault(output.statement.name, []).append(output)
    places = _Places(list(script.statements), list(outputs), named)
    for piece in orphans:
        # An empty one, too, has its place, which others of its name and kind come behind.
        # Which region it would be in is for the script to say.
        if not _join(places, piece) and not script.regions:
            _add(places, piece)
    for index, output in enumerate(places.outputs):
        for piece in output.pieces:
            piece.output = index
    return tuple(places.statements), places.outputs


def _join(places: _Places, piece: Piece) -> bool:
    """Put ``piece`` at the end of the output section of its name; False if none takes it."""
    for output in places.named.get(_output_name(piece), ()):
        like = output.alloc and output.type is piece.section.type
        if not output.pieces or like:
            output.items.append([piece])
            classify(output)
            return True
    return False


def _output_name(piece: Piece) -> str:
    return Kind.ZEROS.value if piece.section.name == COMMON else piece.section.name


def _add(places: _Places, piece: Piece) -> None:
    """Give ``piece`` an output section of its own."""
    section = piece.section
    traits = _traits(section.flags, section.type)
    kind = Kind.NOTES if section.type is SectionType.NOTE else traits.kind
    statement = OutputSection(0, _output_name(piece), ())
    output = Output(statement, [[piece]])
    classify(output)
    places.named.setdefault(statement.name, []).append(output)
    if section.name == COMMON:
        # GNU ld makes a .bss for it, if there is none, behind all that it has by then.
        places.statements.append(statement)
        places.outputs.append(output)
        return
    before = places.last.get(kind)
    if before is not None:
        position = _index(places.statements, before) + 1
    else:
        found = _named(places.outputs, kind) or _most_like(places.outputs, traits, section.type)
        position = _behind(places.statements, None if found is None else found.statement)
    places.statements.insert(position, statement)
    places.last[kind] = statement
    ahead = {id(one) for one in places.statements[:position]}
    places.outputs.insert(sum(id(one.statement) in ahead for one in places.outputs), output)


def _index(statements: Sequence[Statement], statement: Statement) -> int:
    """Where ``statement`` itself is; another may be equal."""
    return next(index for index, one in enumerate(statements) if one is statement)


def _traits(flags: SectionFlag, kind: SectionType) -> Traits:
    return Traits(
        kind is not SectionType.NOBITS,
        bool(flags & SectionFlag.WRITE),
        bool(flags & SectionFlag.EXEC),
    )


def _named(outputs: Sequence[Output], kind: Kind) -> Output | None:
    return next((one for one in outputs if one.statement.name == kind.value), None)


def _most_like(outputs: Sequence[Output], traits: Traits, kind: SectionType) -> Output | None:
    """The last section that is the same in all that counts, or else in what counts most."""
    filled = [one for one in outputs if one.pieces and one.alloc]
    for candidates in ([one for one in filled if one.type is kind], filled):
        same = [one for one in candidates if _traits(one.flags, one.type) == traits]
        near = [one for one in candidates if _near(_traits(one.flags, one.type), traits)]
        if same or near:
            return (same or near)[-1]
    return None


def _near(other: Traits, traits: Traits) -> bool:
    """Code goes behind writable code, read-only data behind code, data behind read-only data, and
    what is not stored behind anything.
    """
    if not traits.stored:
        return True
    if not other.stored:
        return False
    if traits.code:
        return other.code
    return traits.writable or not other.writable


def _behind(statements: Sequence[Statement], after: OutputSection | None) -> int:
    """Where a section that stands behind ``after`` (None: in front of all) is put in.

    Assignments that follow it still see its end. One to the location counter moves what comes next,
    so the section stands in front of the first of those.
    """
    start = 0 if after is None else _index(statements, after) + 1
    # In front of everything the first assignment to the counter is where all begins.
    first_counts = after is not None
    moved: int | None = None
    for position in range(start, len(statements)):
        statement = statements[position]
        if isinstance(statement, OutputSection):
            return position if moved is None else moved
        if isinstance(statement, Assignment) and statement.name == "." and moved is None:
            if first_counts:
                moved = position
            first_counts = True
    return len(statements)
