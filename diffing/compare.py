"""Two sides to a Diff: by routine, which instruction became which, and what that is about."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from relokit.diffing.align import Budget, Pair, align
from relokit.diffing.classify import Kind, heavier, kind_of
from relokit.diffing.decode import Instruction, decode
from relokit.diffing.normalise import (
    Aspect,
    Key,
    Register,
    key_of,
    trimmed,
    with_fields,
)
from relokit.diffing.renaming import renamed, renaming
from relokit.diffing.routine import DiffError, Routine, Side

MAX_CODE = 1 << 20
"""Bytes of all routines of one side that are compared."""
ROUNDS = 3
"""Alignments of one routine, each with the renaming that the one before it shows."""

# How well two instructions correspond: alike, alike but for registers, of the same mnemonic.
SAME, SAME_SHAPE, SAME_MNEMONIC = 24, 16, 5
MOST_REGISTERS = 6


class Action(StrEnum):
    """What happened to an instruction."""

    OPERAND = "operand changed"
    RENAMED = "renamed"
    MOVED = "moved"
    INSERTED = "inserted"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; an inserted instruction has no ``left``, a deleted one no ``right``."""

    action: Action
    kind: Kind
    left: Instruction | None
    right: Instruction | None

    def to_json(self) -> dict[str, Any]:
        """The change as JSON data."""
        return {
            "action": str(self.action),
            "kind": str(self.kind),
            "left": _json(self.left),
            "right": _json(self.right),
        }


@dataclass(frozen=True, slots=True)
class Row:
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
    """Two routines side by side; ``registers`` are what the left's are called on the right."""

    left: str
    right: str
    rows: tuple[Row, ...] = field(repr=False)
    registers: tuple[tuple[Register, Register], ...]

    @property
    def name(self) -> str:
        """The routine's name, or both names."""
        return self.left if self.left == self.right else f"{self.left} → {self.right}"

    def hunks(self, kinds: frozenset[Kind]) -> Iterator[Hunk]:
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
    """What a comparison found; ``kinds`` are what it was asked for."""

    left: str
    right: str
    routines: tuple[RoutineDiff, ...]
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]
    kinds: frozenset[Kind] = frozenset(Kind)

    def changes(self) -> tuple[Change, ...]:
        """Every difference once, in order."""
        rows = (row for routine in self.routines for row in routine.rows)
        found = {id(row.change): row.change for row in rows if row.change is not None}
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

    def renames(self) -> dict[str, tuple[str, ...]]:
        """By routine, the registers that have other names, as ``x2→x19``."""
        found = {}
        for routine in self.routines:
            texts = tuple(
                f"{_register(old)}→{_register(new)}" for old, new in routine.registers if old != new
            )
            if texts:
                found[routine.name] = texts
        return found

    def to_json(self) -> dict[str, Any]:
        """The document that ``relokit diff --json`` prints."""
        return {
            "same": self.same,
            "changed": self.changed,
            "score": round(self.score, 2),
            "left": self.left,
            "right": self.right,
            "routines": [routine.name for routine in self.routines],
            "only_left": list(self.only_left),
            "only_right": list(self.only_right),
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


def compare(
    left: Side,
    right: Side,
    *,
    kept: Iterable[Aspect] = (),
    kinds: Iterable[Kind] = Kind,
) -> Diff:
    """Compare the routines that both sides have or, where each has only one, those two.

    ``kept`` are the aspects that are differences for once, ``kinds`` the differences that count.
    Raises DiffError where nothing is in common or it is more than MAX_CODE bytes.
    """
    if len(left.routines) == len(right.routines) == 1:
        couples = [(*left.routines.values(), *right.routines.values())]
    else:
        common = [name for name in left.routines if name in right.routines]
        couples = [(left.routines[name], right.routines[name]) for name in common]
    if not couples:
        raise DiffError(
            f"no routine of {left.name} is in {right.name}",
            hint="name one on each side: FILE:symbol",
        )
    if max(sum(len(pair[side].code) for pair in couples) for side in (0, 1)) > MAX_CODE:
        raise DiffError(
            f"the routines in common have more than {MAX_CODE} bytes",
            hint="name one of them: FILE:symbol",
        )
    aspects = frozenset(kept)
    budget = Budget()
    fields = left.layout is not None and right.layout is not None and Aspect.FIELDS not in aspects
    routines = tuple(
        _compare_code(
            one.name,
            other.name,
            _code(one, left, fields, aspects),
            _code(other, right, fields, aspects),
            aspects,
            budget,
        )
        for one, other in couples
    )
    names = ({one.name for one, _ in couples}, {other.name for _, other in couples})
    return Diff(
        left.name,
        right.name,
        routines,
        tuple(name for name in left.routines if name not in names[0]),
        tuple(name for name in right.routines if name not in names[1]),
        frozenset(kinds),
    )


def _code(
    routine: Routine, side: Side, fields: bool, kept: frozenset[Aspect]
) -> tuple[Instruction, ...]:
    code = decode(routine, side.names)
    if Aspect.PADDING not in kept:
        code = trimmed(code)
    if fields and routine.kimage_argument and side.layout is not None:
        code = with_fields(code, side.layout)
    return code


def _compare_code(
    left_name: str,
    right_name: str,
    left: tuple[Instruction, ...],
    right: tuple[Instruction, ...],
    kept: frozenset[Aspect],
    budget: Budget,
) -> RoutineDiff:
    keys = [[key_of(one, kept) for one in code] for code in (left, right)]
    # The same work whichever side is left: so the result is the same, mirrored.
    mirrored = _order(keys[1]) < _order(keys[0])
    if mirrored:
        keys.reverse()
    alignment = _Alignment(keys[0], keys[1], kept, budget)
    pairs, names = alignment.solve()
    if mirrored:
        pairs = [(j, i) for i, j in pairs]
        names = {new: old for old, new in names.items()}
        keys.reverse()
    judge = _Judge(left, right, keys[0], keys[1], pairs, names, kept)
    return RoutineDiff(left_name, right_name, tuple(judge.rows()), tuple(sorted(names.items())))


def _order(keys: Sequence[Key]) -> list[tuple[str, tuple[Register, ...], int]]:
    return [(key.shape, key.registers, -1 if key.target is None else key.target) for key in keys]


@dataclass(frozen=True, slots=True)
class _Aligned:
    """Pairs under a renaming, and how many instructions it leaves unlike or alone."""

    pairs: list[Pair]
    names: dict[Register, Register]
    unlike: int


class _Alignment:
    """Which instruction is which, and which register: each found with the help of the other."""

    def __init__(
        self,
        left: Sequence[Key],
        right: Sequence[Key],
        kept: frozenset[Aspect],
        budget: Budget,
    ) -> None:
        self._left, self._right = left, right
        self._rename = Aspect.REGISTERS not in kept
        self._budget = budget

    def solve(self) -> tuple[list[Pair], dict[Register, Register]]:
        """Aligned pairs, and what the left's registers are called on the right.

        A renaming has to explain more than registers that keep their names do.
        """
        names: dict[Register, Register] = {}
        plain = best = self._align(names)
        if not self._rename or not best.unlike:
            return best.pairs, self._used(best)
        shapes = [key.shape for key in self._left], [key.shape for key in self._right]
        names = self._renaming(align(*shapes, self._score(*shapes), self._budget))
        best = plain
        for _ in range(ROUNDS):
            found = self._align(names)
            if found.unlike < best.unlike:
                best = found
            better = self._renaming(found.pairs)
            if better == names:
                break
            names = better
        return best.pairs, self._used(best)

    def _align(self, names: dict[Register, Register]) -> _Aligned:
        taken = frozenset(names.values())
        left = [(key.shape, renamed(key.registers, names, taken)) for key in self._left]
        right = [(key.shape, key.registers) for key in self._right]
        pairs = align(left, right, self._score(left, right), self._budget)
        alike = sum(left[i] == right[j] for i, j in pairs)
        # An instruction that changed counts once, one that has no counterpart too.
        return _Aligned(pairs, names, len(left) + len(right) - len(pairs) - alike)

    def _used(self, aligned: _Aligned) -> dict[Register, Register]:
        """The renaming without what only instructions that are unlike anyway would have voted."""
        used = {
            register
            for i, j in aligned.pairs
            if self._left[i].shape == self._right[j].shape
            for register in self._left[i].registers
        }
        return {old: new for old, new in aligned.names.items() if old in used}

    def _renaming(self, pairs: Iterable[Pair]) -> dict[Register, Register]:
        return renaming((self._left[i], self._right[j]) for i, j in pairs)

    def _score(self, left: Sequence[Any], right: Sequence[Any]) -> Any:
        known: dict[tuple[Any, Any], int] = {}

        def score(i: int, j: int) -> int:
            pair = left[i], right[j]
            value = known.get(pair)
            if value is None:
                value = known[pair] = _likeness(*pair)
            return value

        return score


def _likeness(left: Any, right: Any) -> int:
    if left == right:
        return SAME
    shapes = (left, right) if isinstance(left, str) else (left[0], right[0])
    if shapes[0] == shapes[1]:
        unlike = [one for one, other in zip(left[1], right[1], strict=True) if one != other]
        return SAME_SHAPE - min(len(unlike), MOST_REGISTERS)
    words = [shape.partition(" ")[0] for shape in shapes]
    return SAME_MNEMONIC if words[0] == words[1] else 0


Meaning = tuple[str, tuple[Register, ...], int | None]
"""Shape, registers as the right calls them, and the pair a branch leads to."""


class _Judge:
    """Turns an alignment into rows."""

    def __init__(
        self,
        left: Sequence[Instruction],
        right: Sequence[Instruction],
        left_keys: Sequence[Key],
        right_keys: Sequence[Key],
        pairs: Sequence[Pair],
        names: dict[Register, Register],
        kept: frozenset[Aspect],
    ) -> None:
        self._left, self._right = left, right
        self._left_keys, self._right_keys = left_keys, right_keys
        self._pairs = pairs
        self._names = names
        self._taken = frozenset(names.values())
        self._next = (
            _next_pairs(len(left), [i for i, _ in pairs]),
            _next_pairs(len(right), [j for _, j in pairs]),
        )
        self._suggested = renaming((left_keys[i], right_keys[j]) for i, j in pairs)
        self._keeps_registers = Aspect.REGISTERS in kept

    def rows(self) -> Iterator[Row]:
        """All rows, in order."""
        moves = self._moves()
        at_left = at_right = 0
        for i, j in (*self._pairs, (len(self._left), len(self._right))):
            for index in range(at_left, i):
                one = self._left[index]
                deleted = Change(Action.DELETED, kind_of(one), one, None)
                yield Row(one, None, moves.get((0, index), deleted))
            for index in range(at_right, j):
                one = self._right[index]
                inserted = Change(Action.INSERTED, kind_of(one), None, one)
                yield Row(None, one, moves.get((1, index), inserted))
            if i < len(self._left):
                yield Row(self._left[i], self._right[j], self._change(i, j))
            at_left, at_right = i + 1, j + 1

    def _moves(self) -> dict[tuple[int, int], Change]:
        """Changes by side and index, for what is deleted here and inserted there."""
        paired = {i for i, _ in self._pairs}, {j for _, j in self._pairs}
        places: dict[object, deque[int]] = defaultdict(deque)
        for j in range(len(self._right)):
            if j not in paired[1]:
                places[self._right_meaning(j)].append(j)
        found = {}
        for i, one in enumerate(self._left):
            if i in paired[0] or kind_of(one) is Kind.HINT:
                continue
            candidates = places.get(self._left_meaning(i))
            if candidates:
                j = candidates.popleft()
                moved = Change(Action.MOVED, kind_of(one), one, self._right[j])
                found[0, i] = found[1, j] = moved
        return found

    def _change(self, i: int, j: int) -> Change | None:
        left, right = self._left_meaning(i), self._right_meaning(j)
        if left == right:
            return None
        action = Action.OPERAND
        if self._keeps_registers and left[0] == right[0] and left[2] == right[2]:
            would = renamed(
                self._left_keys[i].registers, self._suggested, frozenset(self._suggested.values())
            )
            if would == right[1]:
                action = Action.RENAMED
        one, other = self._left[i], self._right[j]
        return Change(action, heavier(kind_of(one), kind_of(other)), one, other)

    def _left_meaning(self, i: int) -> Meaning:
        key = self._left_keys[i]
        registers = renamed(key.registers, self._names, self._taken)
        return key.shape, registers, _place(key.target, self._next[0])

    def _right_meaning(self, j: int) -> Meaning:
        key = self._right_keys[j]
        return key.shape, key.registers, _place(key.target, self._next[1])


def _place(target: int | None, following: Sequence[int]) -> int | None:
    """The pair that a branch leads to; what is inserted before it there is its own change."""
    return None if target is None else following[min(target, len(following) - 1)]


def _next_pairs(count: int, paired: Sequence[int]) -> list[int]:
    """For each index up to ``count``: the number of the first pair at or after it."""
    result, number = [], 0
    for index in range(count + 1):
        while number < len(paired) and paired[number] < index:
            number += 1
        result.append(number)
    return result


def _json(instruction: Instruction | None) -> dict[str, Any] | None:
    if instruction is None:
        return None
    return {
        "offset": instruction.offset,
        "word": f"{instruction.word:08x}",
        "text": instruction.text,
    }


def _register(register: Register) -> str:
    bank, number = register
    return f"{'x' if bank == 'r' else bank}{number}"
