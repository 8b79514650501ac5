"""What changes in machine code from one build to the next: routine by routine, as lines.

Nothing is normalised but addresses: another register or encoding is a change here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from itertools import groupby

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import SymbolType
from relokit.diffing.instructions.decode import Instruction
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.read.routine import Side
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Diff, DiffRow, RoutineDiff
from relokit.diffing.routines.report import spans
from relokit.linker.image import Image, ImageSymbol

KEPT = frozenset({Aspect.REGISTERS, Aspect.ENCODINGS, Aspect.PADDING})


@dataclass(frozen=True, slots=True)
class CodeLine:
    """One line of a diff: ``sign`` is a blank, ``-`` or ``+``; offsets in bytes, None if absent."""

    sign: str
    before: int | None
    after: int | None
    word: int
    text: str


@dataclass(frozen=True, slots=True)
class RoutineChange:
    """``change`` is added, removed, changed or renamed (then ``was`` is the name it had).

    ``before`` and ``after`` are sizes in bytes.
    """

    name: str
    change: str
    before: int
    after: int
    was: str | None = field(default=None, metadata=ABSENT)
    hunks: tuple[tuple[CodeLine, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class CodeChange:
    """The routines that differ, in the order they are placed, and symbols that come and go."""

    routines: tuple[RoutineChange, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


def code_change(before: tuple[Image, Side], after: tuple[Image, Side]) -> CodeChange:
    """Everything that differs between two builds but addresses.

    Each is an Image and what :func:`relokit.diffing.read.sides.built_side` makes of it.
    """
    diff = compare(before[1], after[1], kept=KEPT)
    changes = tuple(_routines(diff))
    renamed = {one.was: one.name for one in changes if one.was is not None}
    here = _names(before[0]) - renamed.keys()
    there = _names(after[0]) - set(renamed.values())
    return CodeChange(changes, tuple(sorted(there - here)), tuple(sorted(here - there)))


def _names(image: Image) -> set[str]:
    return {symbol.name for symbol in image.symbols if _is_name(symbol)}


def _is_name(symbol: ImageSymbol) -> bool:
    """Whether a person gave the name: not a mapping symbol, section or file."""
    typed = symbol.type in (SymbolType.SECTION, SymbolType.FILE)
    return bool(symbol.name) and symbol.name[0] not in "$." and not typed


def _routines(diff: Diff) -> Iterator[RoutineChange]:
    """By address: those that are there afterwards, then those that are gone."""

    def place(routine: RoutineDiff) -> tuple[bool, int]:
        one = routine.right or routine.left
        return routine.right is None, one.address if one else 0

    for routine in sorted(diff.routines, key=place):
        left, right = routine.left, routine.right
        sizes = len(left.code) if left else 0, len(right.code) if right else 0
        hunks = tuple(
            tuple(_lines(routine.rows[first:last])) for first, last in spans(diff, routine)
        )
        if left is None or right is None:
            change = "added" if left is None else "removed"
            yield RoutineChange(routine.name, change, *sizes, None, hunks)
        elif left.name != right.name:
            yield RoutineChange(right.name, "renamed", *sizes, left.name, hunks)
        elif hunks:
            yield RoutineChange(routine.name, "changed", *sizes, None, hunks)


def _lines(rows: tuple[DiffRow, ...]) -> Iterator[CodeLine]:
    """Rows as lines; of a run of changes, first all that goes, then all that comes."""
    for changed, group in groupby(rows, key=lambda row: row.change is not None):
        run = list(group)
        if changed:
            yield from (_line("-", row.left, None) for row in run if row.left)
            yield from (_line("+", None, row.right) for row in run if row.right)
        else:
            yield from (_line(" ", row.left, row.right) for row in run)


def _line(sign: str, before: Instruction | None, after: Instruction | None) -> CodeLine:
    shown = after or before
    assert shown is not None
    return CodeLine(
        sign,
        before.offset if before else None,
        after.offset if after else None,
        shown.word,
        shown.text,
    )
