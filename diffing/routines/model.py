"""Diff: what a comparison found, as data; what shows it knows nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from relokit.diffing.instructions.decode import Instruction
from relokit.diffing.instructions.normalise import Register
from relokit.diffing.read.routine import Routine, Side
from relokit.diffing.routines.classify import ChangeKind


class Action(StrEnum):
    """What happened to an instruction."""

    OPERAND = "operand changed"
    RENAMED = "renamed"
    MOVED = "moved"
    INSERTED = "inserted"
    DELETED = "deleted"

    @property
    def verb(self) -> str:
        """In one word."""
        return "changed" if self is Action.OPERAND else str(self)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; an inserted instruction has no ``left``, a deleted one no ``right``.

    ``note`` says what the texts do not show: that the same name holds another value.
    """

    action: Action
    kind: ChangeKind
    left: Instruction | None
    right: Instruction | None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The change as JSON data."""
        return {
            "action": str(self.action),
            "kind": str(self.kind),
            "left": _json(self.left),
            "right": _json(self.right),
        } | ({"note": self.note} if self.note else {})


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One line of an alignment. ``change`` is None where both sides say the same.

    A moved instruction has two rows, each with one side, and its Change in both.
    """

    left: Instruction | None
    right: Instruction | None
    change: Change | None


@dataclass(frozen=True, slots=True)
class Hunk:
    """A run of changed rows: numbers ``first`` up to ``last`` of the routine's rows."""

    first: int
    last: int
    changes: tuple[Change, ...]

    @property
    def action(self) -> str:
        """What happened in all of it, or ``mixed``."""
        actions = {change.action for change in self.changes}
        return str(actions.pop()) if len(actions) == 1 else "mixed"


@dataclass(frozen=True, slots=True)
class RoutineDiff:
    """Two routines side by side; ``registers`` are those with another name, left and right.

    A routine that only one side has is all inserted or deleted.
    """

    left: Routine | None
    right: Routine | None
    rows: tuple[DiffRow, ...] = field(repr=False)
    registers: tuple[tuple[Register, Register], ...] = ()

    @property
    def name(self) -> str:
        """The routine's name, or both names."""
        names = dict.fromkeys(one.name for one in (self.left, self.right) if one)
        return " → ".join(names)

    @property
    def one_sided(self) -> bool:
        """Whether only one side has it."""
        return self.left is None or self.right is None

    @property
    def renamed(self) -> bool:
        """Whether the two sides call it by different names."""
        if self.left is None or self.right is None:
            return False
        return self.left.name != self.right.name

    def hunks(self, kinds: frozenset[ChangeKind]) -> Iterator[Hunk]:
        """Runs of changed rows that hold a change of one of ``kinds``; of the others, none."""
        first = None
        for number, row in enumerate((*self.rows, None)):
            if row is not None and row.change is not None:
                first = number if first is None else first
            elif first is not None:
                changes = dict.fromkeys(
                    row.change for row in self.rows[first:number] if row.change is not None
                )
                wanted = tuple(change for change in changes if change.kind in kinds)
                if wanted:
                    yield Hunk(first, number, wanted)
                first = None


@dataclass(frozen=True, slots=True)
class Diff:
    """What a comparison found; ``kinds`` are what it was asked for.

    ``ignored`` are the names of routines that one side has and the other, which is but a part of a
    program, was not expected to have.
    """

    left: Side
    right: Side
    routines: tuple[RoutineDiff, ...]
    ignored: tuple[str, ...] = ()
    kinds: frozenset[ChangeKind] = frozenset(ChangeKind)

    def changes(self) -> tuple[Change, ...]:
        """Every difference once, in order."""
        return tuple(change for one in self.routines for change in self.changes_in(one))

    def changes_in(self, routine: RoutineDiff) -> tuple[Change, ...]:
        """Those of one routine."""
        found = {id(row.change): row.change for row in routine.rows if row.change is not None}
        return tuple(change for change in found.values() if change.kind in self.kinds)

    @property
    def changed(self) -> int:
        """Instructions changed, moved, inserted or deleted, after normalisation."""
        return len(self.changes())

    @property
    def same(self) -> bool:
        """Whether nothing differs that was asked for."""
        return not self.changed

    @property
    def score(self) -> float:
        """Likeness in percent: instructions without a difference, of those on both sides."""
        rows = [row for routine in self.routines for row in routine.rows]
        total = sum((row.left is not None) + (row.right is not None) for row in rows)
        unlike = sum(
            (row.left is not None) + (row.right is not None)
            for row in rows
            if row.change is not None and row.change.kind in self.kinds
        )
        return 100 * (total - unlike) / total

    @property
    def only_left(self) -> tuple[str, ...]:
        """Names of the routines that the right has not."""
        return tuple(one.name for one in self.routines if one.right is None)

    @property
    def only_right(self) -> tuple[str, ...]:
        """Names of the routines that the left has not."""
        return tuple(one.name for one in self.routines if one.left is None)

    def renames(self) -> dict[str, tuple[str, ...]]:
        """By routine, the registers that have other names, as ``x2→x19``."""
        return {
            routine.name: tuple(
                f"{register_name(old)}→{register_name(new)}" for old, new in routine.registers
            )
            for routine in self.routines
            if routine.registers
        }

    def to_json(self) -> dict[str, Any]:
        """The document that ``relokit diff --json`` prints."""
        return {
            "same": self.same,
            "changed": self.changed,
            "score": round(self.score, 2),
            "left": self.left.name,
            "right": self.right.name,
            "routines": [routine.name for routine in self.routines if not routine.one_sided],
            "only_left": list(self.only_left),
            "only_right": list(self.only_right),
            "renamed": [one.name for one in self.routines if one.renamed],
            "ignored": list(self.ignored),
            "registers": {name: list(texts) for name, texts in self.renames().items()},
            "hunks": [
                {
                    "routine": routine.name,
                    "action": hunk.action,
                    "changes": [change.to_json() for change in hunk.changes],
                }
                for routine in self.routines
                for hunk in routine.hunks(self.kinds)
            ],
        }


@dataclass(frozen=True, slots=True)
class PatchStep:
    """A patch of the series: its subject, what it changes, and the states around it compared."""

    number: int
    subject: str
    change: str
    diff: Diff

    def to_json(self) -> dict[str, Any]:
        """The step as JSON data."""
        return {
            "patch": self.number,
            "subject": self.subject,
            "change": self.change,
            "diff": self.diff.to_json(),
        }


def _json(instruction: Instruction | None) -> dict[str, Any] | None:
    if instruction is None:
        return None
    document = {
        "offset": instruction.offset,
        "word": f"{instruction.word:08x}",
        "text": instruction.text,
    }
    return document | ({"note": instruction.note} if instruction.note else {})


def register_name(register: Register) -> str:
    """As a person reads it: ``x2``, ``v0``."""
    bank, number = register
    return f"{'x' if bank == 'r' else bank}{number}"
