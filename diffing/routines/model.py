"""Diff: what a comparison found, as data; what shows it knows nothing else."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from itertools import groupby
from typing import ClassVar, overload

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.nouns import dataclass
from relokit.diffing.instructions.decode import Instruction, plain_instructions
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


class Rows(Sequence[DiffRow]):
    """The rows of a routine. Most say on both sides the same, and nothing that a word does not say:
    of these only offsets and words are kept, and a DiffRow is made when it is asked for (ADR 71).
    """

    __slots__ = ("_numbers", "told")

    def __init__(self, rows: Iterable[DiffRow] = ()) -> None:
        self.told: dict[int, DiffRow] = {}
        """The others by number, ascending: all changes, and all that refers to a place."""
        self._numbers = array("I")
        """Of each row offset and word on either side."""
        for number, row in enumerate(rows):
            left, right = row.left, row.right
            if left and right and row.change is None and left.is_plain and right.is_plain:
                self._numbers.extend((left.offset, left.word, right.offset, right.word))
            else:
                self.told[number] = row
                self._numbers.extend(_TOLD)

    def __len__(self) -> int:
        return len(self._numbers) // 4

    @overload
    def __getitem__(self, at: int) -> DiffRow: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[DiffRow, ...]: ...
    def __getitem__(self, at: int | slice) -> DiffRow | tuple[DiffRow, ...]:
        rows = range(len(self))[at]
        return tuple(self._made(rows)) if isinstance(rows, range) else next(self._made((rows,)))

    def __iter__(self) -> Iterator[DiffRow]:
        for first in range(0, len(self), BLOCK):
            yield from self[first : first + BLOCK]

    def _made(self, rows: Sequence[int]) -> Iterator[DiffRow]:
        told, numbers = self.told, self._numbers
        plain = plain_instructions(
            (numbers[at], numbers[at + 1])
            for row in rows
            if row not in told
            for at in (4 * row, 4 * row + 2)
        )
        for row in rows:
            yield told[row] if row in told else DiffRow(next(plain), next(plain), None)

    def layout(self) -> Iterator[tuple[bool, bool]]:
        """Of each row, which sides it has."""
        for number in range(len(self)):
            row = self.told.get(number)
            yield (True, True) if row is None else (row.left is not None, row.right is not None)

    def changes(self) -> Iterable[Change]:
        """The changes of all rows, each once."""
        return {
            id(row.change): row.change for row in self.told.values() if row.change is not None
        }.values()


_TOLD = 0, 0, 0, 0
BLOCK = 256
"""Rows that are made at a time."""


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
    rows: Rows = field(repr=False)
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
        changed = (number for number, row in self.rows.told.items() if row.change is not None)
        # Of a run, numbers go up as places in the list do.
        for _, run in groupby(enumerate(changed), key=lambda one: one[1] - one[0]):
            numbers = [number for _, number in run]
            found = dict.fromkeys(self.rows.told[number].change for number in numbers)
            wanted = tuple(change for change in found if change and change.counts(kinds))
            if wanted:
                yield Hunk(numbers[0], numbers[-1] + 1, wanted)


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
        return tuple(change for change in routine.rows.changes() if change.counts(self.kinds))

    @property
    def differences_ignored(self) -> dict[Ignorable, int]:
        """How many differences of the kinds that were asked for do not count, by what they are."""
        counts = Counter(
            change.ignored
            for routine in self.routines
            for change in routine.rows.changes()
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
        total = sum(sum(sides) for routine in self.routines for sides in routine.rows.layout())
        unlike = sum(
            (row.left is not None) + (row.right is not None)
            for routine in self.routines
            for row in routine.rows.told.values()
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
