"""Orphans: allocated input sections that no pattern of the script took, placed as GNU ld does.

An orphan joins the output section of its name if there is one that is like it. Else it gets one of
its own, behind what is most like it: the section that is usual for its kind, or the last one in the
script that differs least (GNU ld's manual, "Orphan Sections"; what it says nothing of was tried).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field
from enum import Enum

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import SectionFlag, SectionType
from relokit.linker.elf_format import COMMON
from relokit.linker.link.patterns import takes
from relokit.linker.link.sections import Output, Piece, classify
from relokit.linker.script.statements import Assignment, Data, OutputSection, Script, Statement

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


# What GNU ld takes sections of these names for, as long as nothing is in them. Those apart are
# other than any of ours, but what is not stored goes behind them, too.
_EXPECTED = {
    ".text": Traits(stored=True, writable=False, code=True),
    ".rodata": Traits(stored=True, writable=False, code=False),
    ".interp": Traits(stored=True, writable=False, code=False),
    ".data": Traits(stored=True, writable=True, code=False),
    ".bss": Traits(stored=False, writable=True, code=False),
}
_APART = frozenset((".tdata", ".sdata"))
# GNU ld makes these where it may need them, nearly always empty: they count as the others do.
_MADE_BY_LD = {
    ".iplt": (Traits(stored=True, writable=False, code=True), SectionType.PROGBITS),
    ".igot.plt": (Traits(stored=True, writable=True, code=False), SectionType.PROGBITS),
    ".rela.iplt": (Traits(stored=True, writable=False, code=False), None),
}


_USUAL = re.compile(
    r"\.(?:text|data|rodata)(?:\..*)?|\.(?:init|fini|got|plt|interp|data1|rodata1)", re.DOTALL
)


class UndecidedError(Exception):
    """Where the orphan ``name`` goes depends on ``output``, for the reason ``why``."""

    def __init__(self, name: str, output: Output, why: str) -> None:
        super().__init__(name)
        self.why = why
        self.name = name
        self.output = output


@dataclass(slots=True)
class _Places:
    statements: list[Statement]
    outputs: list[Output]
    named: dict[str, list[Output]]
    last: dict[Kind, OutputSection] = field(default_factory=dict)
    notes: list[OutputSection] = field(default_factory=list)


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
    notes = [one for one in places.outputs if one.alloc and one.type is SectionType.NOTE]
    if kind is Kind.NOTES and notes:
        position = _among_notes(places, notes, output)
    elif before is not None:
        position = _index(places.statements, before) + 1
    else:
        found = _named(places.outputs, kind) or _most_like(
            places.outputs, section.name, traits, section.type
        )
        position = _behind(places.statements, None if found is None else found.statement)
    if kind is not Kind.NOTES:
        position = _behind_notes(places, notes, position, section.name)
    places.statements.insert(position, statement)
    places.last[kind] = statement
    if kind is Kind.NOTES:
        places.notes.append(statement)
    ahead = {id(one) for one in places.statements[:position]}
    places.outputs.insert(sum(id(one.statement) in ahead for one in places.outputs), output)


def _among_notes(places: _Places, notes: Sequence[Output], new: Output) -> int:
    """Where a further note goes: GNU ld has those that are aligned more in front."""
    for note in notes:
        if _alignment(note) < _alignment(new):
            ahead = places.statements[: _index(places.statements, note.statement)]
            before = [one for one in ahead if isinstance(one, OutputSection)]
            return _behind(places.statements, before[-1] if before else None)
    return _index(places.statements, notes[-1].statement) + 1


def _alignment(output: Output) -> int:
    return max((piece.section.align for piece in output.pieces), default=1)


def _behind_notes(places: _Places, notes: Sequence[Output], position: int, name: str) -> int:
    """``position``; in front of orphans that are notes, if there are several, it is behind them.

    Raises UndecidedError if some are the script's and some are not.
    """
    if len(notes) < 2 or not places.notes:
        return position
    if len(places.notes) < len(notes):
        raise UndecidedError(name, notes[0], "GNU ld moves others behind notes that are orphans")
    first, last = (_index(places.statements, notes[at].statement) for at in (0, -1))
    between = places.statements[position:first]
    directly = position <= first and not any(isinstance(one, OutputSection) for one in between)
    return last + 1 if directly else position


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


def _most_like(
    outputs: Sequence[Output], name: str, traits: Traits, kind: SectionType
) -> Output | None:
    """The last section that is the same in all that counts, or else in what counts most.

    Raises UndecidedError if another is with GNU ld's own sections.
    """
    chosen = _chosen(outputs, traits, kind, own=False)
    other = _chosen(outputs, traits, kind, own=True)
    if other is not None and other is not chosen:
        raise UndecidedError(
            name, other, f"GNU ld may have something of its own in {other.statement.name}"
        )
    return chosen


def _chosen(
    outputs: Sequence[Output], traits: Traits, kind: SectionType, *, own: bool
) -> Output | None:
    alike: list[tuple[Output, Traits | None]] = []
    every: list[tuple[Output, Traits | None]] = []
    for one in outputs:
        other, its_kind = _what_counts(one, own)
        every.append((one, other))
        if its_kind is kind or not one.items:
            alike.append((one, other))
    for candidates in (alike, every):
        same = [one for one, other in candidates if other == traits]
        found = same or [one for one, other in candidates if _goes_behind(one, other, traits)]
        if found:
            return found[-1]
    return None


def _what_counts(output: Output, own: bool) -> tuple[Traits | None, SectionType | None]:
    """Traits and type of a section, or of what is expected in one that is empty."""
    if output.pieces:
        return (_traits(output.flags, output.type) if output.alloc else None), output.type
    if any(isinstance(item, Data) for item in output.items):
        # Its type is known by then only if its name has one.
        known = SectionType.PROGBITS if _USUAL.fullmatch(output.statement.name) else None
        return Traits(True, bool(output.flags & SectionFlag.WRITE), False), known
    if own:
        for name, made in _MADE_BY_LD.items():
            if takes(output.statement, name):
                return made
    return (None if output.items else _EXPECTED.get(output.statement.name)), None


def _goes_behind(output: Output, other: Traits | None, traits: Traits) -> bool:
    if other is None:
        return output.statement.name in _APART and not output.items and not traits.stored
    return _near(other, traits)


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
