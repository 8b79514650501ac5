"""Functions that differ between two kernels: a table of numbers, of which a row is made an object
when it is asked for. There are fifty thousand, and a terminal shows fifty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, overload

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.diffing.read.references import Flags, Ints
from relokit.diffing.routines.classify import WEIGHT, ChangeKind


class FunctionStatus(StrEnum):
    """Where a function is, and whether it changed."""

    SAME = "same"
    CHANGED = "changed"
    ONLY_LEFT = "only left"
    ONLY_RIGHT = "only right"


class FunctionCount(NamedTuple):
    """How many instructions are new, gone, and alike but for an operand."""

    inserted: int
    deleted: int
    operands: int


def added(counts: Iterable[FunctionCount]) -> FunctionCount:
    """All of ``counts`` together."""
    inserted = deleted = operands = 0
    for count in counts:
        inserted += count[0]
        deleted += count[1]
        operands += count[2]
    return FunctionCount(inserted, deleted, operands)


@dataclass(frozen=True, slots=True)
class FunctionChange:
    """A function that differs: its names, None on a side that has it not, and its sizes in bytes.

    Of one that is on one side only, all instructions are inserted or deleted. ``aligned`` is
    False where it was too large and instructions were only counted, wherever they are.
    """

    left: str | None
    right: str | None
    left_bytes: int
    right_bytes: int
    kinds: Mapping[ChangeKind, FunctionCount]
    aligned: bool = True

    @property
    def name(self) -> str:
        """The function's name, or both names."""
        if self.left is None or self.right is None or self.left == self.right:
            return self.left or self.right or ""
        return f"{self.left} → {self.right}"

    @property
    def status(self) -> FunctionStatus:
        """Never ``same``: those are not listed."""
        if self.left is None:
            return FunctionStatus.ONLY_RIGHT
        return FunctionStatus.ONLY_LEFT if self.right is None else FunctionStatus.CHANGED

    def count(self, kinds: Collection[ChangeKind]) -> FunctionCount:
        """What differs of ``kinds``, together."""
        return added(count for kind, count in self.kinds.items() if kind in kinds)


class FunctionChanges(Sequence[FunctionChange]):
    """FunctionChanges n, as row n of each: the names, sizes in bytes, ``counts`` by kind as in
    WEIGHT, then inserted, deleted and operands, and ``aligned``.
    """

    def __init__(
        self,
        names: tuple[Sequence[str | None], Sequence[str | None]],
        sizes: tuple[Ints, Ints],
        counts: Ints,
        aligned: Flags,
    ) -> None:
        self._names, self._sizes, self._counts, self._aligned = names, sizes, counts, aligned

    @classmethod
    def of(cls, changes: Iterable[FunctionChange]) -> FunctionChanges:
        """These changes, as a table."""
        changes = list(changes)
        counts = [[one.kinds.get(kind, (0, 0, 0)) for kind in WEIGHT] for one in changes]
        return cls(
            ([one.left for one in changes], [one.right for one in changes]),
            (
                np.array([one.left_bytes for one in changes], np.int64),
                np.array([one.right_bytes for one in changes], np.int64),
            ),
            np.array(counts, np.int64).reshape(-1, len(WEIGHT), len(FunctionCount._fields)),
            np.array([one.aligned for one in changes], np.bool_),
        )

    def __len__(self) -> int:
        return len(self._aligned)

    @overload
    def __getitem__(self, row: int) -> FunctionChange: ...

    @overload
    def __getitem__(self, row: slice) -> FunctionChanges: ...

    def __getitem__(self, row: int | slice) -> FunctionChange | FunctionChanges:
        if isinstance(row, slice):
            return self.chosen(np.arange(len(self))[row])
        counts = self._counts[row]
        kinds = np.flatnonzero(counts.any(axis=-1)).tolist()
        return FunctionChange(
            left=self._names[0][row],
            right=self._names[1][row],
            left_bytes=int(self._sizes[0][row]),
            right_bytes=int(self._sizes[1][row]),
            kinds={WEIGHT[kind]: FunctionCount(*counts[kind].tolist()) for kind in kinds},
            aligned=bool(self._aligned[row]),
        )

    def chosen(self, rows: Ints) -> FunctionChanges:
        """Some of them, in this order."""
        numbers = rows.tolist()
        left, right = self._names
        return FunctionChanges(
            ([left[row] for row in numbers], [right[row] for row in numbers]),
            (self._sizes[0][rows], self._sizes[1][rows]),
            self._counts[rows],
            self._aligned[rows],
        )

    def having(self, kinds: Collection[ChangeKind]) -> Flags:
        """Which of them have a difference of ``kinds``."""
        found: Flags = np.any(self._of(kinds) != 0, axis=2).any(axis=1)
        return found

    def with_status(self, status: FunctionStatus) -> Flags:
        """Which of them have this status."""
        ours, theirs = (
            np.array([name is not None for name in names], np.bool_) for names in self._names
        )
        match status:
            case FunctionStatus.SAME:
                return ~(ours | theirs)
            case FunctionStatus.CHANGED:
                return ours & theirs
            case FunctionStatus.ONLY_LEFT:
                return ours & ~theirs
        return theirs & ~ours

    def by_kind(self, kinds: Collection[ChangeKind]) -> dict[ChangeKind, tuple[FunctionCount, int]]:
        """By kind that differs: what differs in all, and in how many of them."""
        found = {}
        for number, kind in enumerate(WEIGHT):
            counts = self._counts[:, number]
            functions = int(counts.any(axis=-1).sum())
            if kind in kinds and functions:
                found[kind] = FunctionCount(*counts.sum(axis=0).tolist()), functions
        return found

    def without_insertions(self, kinds: Collection[ChangeKind]) -> Flags:
        """Which of them differ in operands, and in nothing else of ``kinds``."""
        inserted, deleted, operands = self._sums(kinds)
        found: Flags = np.equal(inserted + deleted, 0) & np.greater(operands, 0)
        return found

    def most_first(self, kinds: Collection[ChangeKind]) -> Ints:
        """Rows in the order of what differs of ``kinds``: inserted and deleted, operands, names."""
        names = [
            left or right or "" if left is None or right is None or left == right
            else f"{left} → {right}"
            for left, right in zip(*self._names, strict=True)
        ]  # fmt: skip
        order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
        inserted, deleted, operands = self._sums(kinds)
        # Which is stable.
        found: Ints = order[np.lexsort((-operands[order], -(inserted + deleted)[order]))]
        return found

    def _of(self, kinds: Collection[ChangeKind]) -> Ints:
        return self._counts[:, [kind in kinds for kind in WEIGHT]]

    def _sums(self, kinds: Collection[ChangeKind]) -> tuple[Ints, Ints, Ints]:
        inserted, deleted, operands = self._of(kinds).sum(axis=1).T
        return inserted, deleted, operands
