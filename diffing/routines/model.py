"""Diff: what a comparison found, as data; what shows it knows nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from enum import StrEnum
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.nouns import dataclass
from relokit.diffing.instructions.decode import Instruction
from relokit.diffing.instructions.ignorable import Ignorable
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


class DiffVerdict(StrEnum):
    """What a comparison came to. What is the same but for what is ignored is never SAME."""

    SAME = "same"
    APART = "same apart from what is ignored"
    DIFFERENT = "different"


def verdict_of(*, same: bool, ignored: int) -> DiffVerdict:
    """The verdict of a comparison in which so many differences were ``ignored``."""
    if not same:
        return DiffVerdict.DIFFERENT
    return DiffVerdict.APART if ignored else DiffVerdict.SAME


def ignored_text(ignored: Mapping[Ignorable, int]) -> str:
    """``12 differences ignored: 9 pac, 3 bti``; empty where nothing was asked to be."""
    if not ignored:
        return ""
    total = sum(ignored.values())
    named = ", ".join(f"{count:,} {kind}" for kind, count in ignored.items() if count)
    noun = "difference" if total == 1 else "differences"
    return (
        f"{total:,} {noun} ignored: {named}" if total else f"no difference ignored: {_of(ignored)}"
    )


def _of(kinds: Iterable[Ignorable]) -> str:
    return f"none is {' or '.join(kinds)}"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; an inserted instruction has no ``left``, a deleted one no ``right``.

    ``note`` says what the texts do not show: that the same name holds another value. ``ignored``
    is the kind for which it does not count.
    """

    action: Action
    kind: ChangeKind
    left: Instruction | None
    right: Instruction | None
    note: str = field(default="", metadata=ABSENT)
    ignored: Ignorable | None = field(default=None, metadata=ABSENT)

    def counts(self, kinds: frozenset[ChangeKind]) -> bool:
        """Whether it was asked for by ``kinds``, and is not ignored."""
        return self.kind in kinds and self.ignored is None


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
class ReportedHunk:
    """A hunk as the document has it: in which routine, what happened in all of it, and the changes
    of the kinds that were asked for.
    """

    routine: str
    action: str
    changes: tuple[Change, ...]


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
                wanted = tuple(change for change in changes if change.counts(kinds))
                if wanted:
                    yield Hunk(first, number, wanted)
                first = None


@dataclass(frozen=True, slots=True)
class Diff:
    """What a comparison found; ``kinds`` are what it was asked for.

    ``ignored`` are the names of routines that one side has and the other, which is but a part of a
    program, was not expected to have. ``data`` are the names of the data that the routines refer
    to and that was compared: what of it differs is in ``routines``. ``data_not_compared`` are
    those of what was not. ``ignore`` are the kinds of difference that do not count. ``accepted``
    says how many of the others a project accepts, and why.
    """

    SCHEMA: ClassVar[str] = "relokit.diff/1"
    DOCUMENT: ClassVar[Table] = {
        **shown("same", "verdict", "changed", "score"),
        "left": "left.name",
        "right": "right.name",
        "routines": "compared",
        **shown("only_left", "only_right", "renamed", "ignored", "data", "data_not_compared"),
        **shown("differences_ignored", "accepted"),
        "registers": "renames",
        "hunks": "hunks",
    }

    left: Side
    right: Side
    routines: tuple[RoutineDiff, ...]
    ignored: tuple[str, ...] = ()
    kinds: frozenset[ChangeKind] = frozenset(ChangeKind)
    data: tuple[str, ...] = ()
    data_not_compared: tuple[str, ...] = ()
    ignore: frozenset[Ignorable] = frozenset()
    accepted: str | None = None

    def changes(self) -> tuple[Change, ...]:
        """Every difference once, in order."""
        return tuple(change for one in self.routines for change in self.changes_in(one))

    def changes_in(self, routine: RoutineDiff) -> tuple[Change, ...]:
        """Those of one routine."""
        return tuple(change for change in _once(routine.rows) if change.counts(self.kinds))

    @property
    def differences_ignored(self) -> dict[Ignorable, int]:
        """How many differences of the kinds that were asked for do not count, by what they are."""
        counts = Counter(
            change.ignored
            for routine in self.routines
            for change in _once(routine.rows)
            if change.kind in self.kinds
        )
        return {kind: counts[kind] for kind in Ignorable if kind in self.ignore}

    @property
    def verdict(self) -> DiffVerdict:
        """In words."""
        return verdict_of(same=self.same, ignored=sum(self.differences_ignored.values()))

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
        """Likeness in percent, two decimals: instructions without a difference, of all there are
        on both sides.
        """
        rows = [row for routine in self.routines for row in routine.rows]
        total = sum((row.left is not None) + (row.right is not None) for row in rows)
        unlike = sum(
            (row.left is not None) + (row.right is not None)
            for row in rows
            if row.change is not None and row.change.counts(self.kinds)
        )
        return round(100 * (total - unlike) / total, 2)

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of the routines that both sides have."""
        compared = (one for one in self.routines if not one.one_sided)
        return tuple(one.name for one in compared if one.name not in self.data)

    @property
    def renamed(self) -> tuple[str, ...]:
        """Those of them that have two names."""
        return tuple(one.name for one in self.routines if one.renamed)

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

    def hunks(self) -> tuple[ReportedHunk, ...]:
        """The hunks of all routines with a change that was asked for."""
        return tuple(
            ReportedHunk(routine.name, hunk.action, hunk.changes)
            for routine in self.routines
            for hunk in routine.hunks(self.kinds)
        )


def _once(rows: Iterable[DiffRow]) -> Iterable[Change]:
    """The changes of ``rows``, each once."""
    return {id(row.change): row.change for row in rows if row.change is not None}.values()


@dataclass(frozen=True, slots=True)
class PatchStep:
    """A patch of the series: its subject, what it changes, and the states around it compared."""

    DOCUMENT: ClassVar[Table] = {"patch": "number", **shown("subject", "change", "diff")}

    number: int
    subject: str
    change: str
    diff: Diff


@dataclass(frozen=True, slots=True)
class SeriesDiff:
    """The patches of the series, in order."""

    SCHEMA: ClassVar[str] = "relokit.diff-series/1"
    DOCUMENT: ClassVar[Table] = shown("same", "accepted", "steps")

    steps: tuple[PatchStep, ...]
    accepted: str | None = None

    @property
    def same(self) -> bool:
        """Whether no patch changes anything that was asked for."""
        return all(step.diff.same for step in self.steps)


def register_name(register: Register) -> str:
    """As a person reads it: ``x2``, ``v0``."""
    bank, number = register
    return f"{'x' if bank == 'r' else bank}{number}"
