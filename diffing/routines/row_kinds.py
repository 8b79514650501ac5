"""From a pairing to rows: what each difference is."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from relokit.diffing.instructions.decode import Instruction
from relokit.diffing.instructions.ignorable import Ignorable, ignorable_of
from relokit.diffing.instructions.normalise import Key, Register
from relokit.diffing.routines.align import Pair
from relokit.diffing.routines.classify import ChangeKind, heavier, kind_of
from relokit.diffing.routines.model import Action, Change, DiffRow, register_name

Variable = tuple[int, int] | int | None
"""Which it is on both sides; of one that is no counterpart of another, its side and its VA."""
Meaning = tuple[str, tuple[Register, ...], int | None, Variable]
"""Shape, registers under the renaming, the pair a branch leads to, and which variable it takes."""
Registers = tuple[Sequence[tuple[Register, ...]], Sequence[tuple[Register, ...]]]


class Judge:
    """Turns pairs into rows.

    ``registers`` are each side's by instruction, those of one side under the renaming that the
    pairs were found with. ``suggested``, if given, has them under a renaming that was not asked
    for: what it explains is RENAMED.
    """

    def __init__(
        self,
        code: tuple[Sequence[Instruction], Sequence[Instruction]],
        keys: tuple[Sequence[Key], Sequence[Key]],
        pairs: Sequence[Pair],
        registers: Registers,
        suggested: Registers | None,
    ) -> None:
        self._left, self._right = code
        self._registers = [key.registers for key in keys[0]]
        self._offsets = [[key.offset for key in side] for side in keys]
        self._pairs = pairs
        following = (
            _next_pairs(len(self._left), [i for i, _ in pairs]),
            _next_pairs(len(self._right), [j for _, j in pairs]),
        )
        variables = _variables(keys, pairs)
        self._meanings = [
            _meanings(*side) for side in zip(keys, registers, following, variables, strict=True)
        ]
        self._suggested = suggested and [
            _meanings(*side) for side in zip(keys, suggested, following, variables, strict=True)
        ]

    def rows(self) -> Iterator[DiffRow]:
        """All rows, in order."""
        moves = self._moves()
        at_left = at_right = 0
        for i, j in (*self._pairs, (len(self._left), len(self._right))):
            for index in range(at_left, i):
                one = self._left[index]
                deleted = Change(Action.DELETED, kind_of(one), one, None)
                yield DiffRow(one, None, moves.get((0, index), deleted))
            for index in range(at_right, j):
                one = self._right[index]
                inserted = Change(Action.INSERTED, kind_of(one), None, one)
                yield DiffRow(None, one, moves.get((1, index), inserted))
            if i < len(self._left):
                yield DiffRow(self._left[i], self._right[j], self._change(i, j))
            at_left, at_right = i + 1, j + 1

    def _moves(self) -> dict[tuple[int, int], Change]:
        """Changes by side and index, for what is deleted here and inserted there."""
        paired = {i for i, _ in self._pairs}, {j for _, j in self._pairs}
        places: dict[object, deque[int]] = defaultdict(deque)
        for j in range(len(self._right)):
            if j not in paired[1]:
                places[self._meanings[1][j]].append(j)
        found = {}
        for i, one in enumerate(self._left):
            if i in paired[0] or kind_of(one) is ChangeKind.HINT:
                continue
            candidates = places.get(self._meanings[0][i])
            if candidates:
                j = candidates.popleft()
                moved = Change(Action.MOVED, kind_of(one), one, self._right[j])
                found[0, i] = found[1, j] = moved
        return found

    def _change(self, i: int, j: int) -> Change | None:
        left, right = self._meanings
        if left[i] == right[j]:
            return self._offset(i, j)
        action = Action.OPERAND
        if self._suggested and self._suggested[0][i] == self._suggested[1][j]:
            action = Action.RENAMED
        one, other = self._left[i], self._right[j]
        note = ""
        if one.text == other.text and one.at_boot == other.at_boot:
            note = _note(self._registers[i], left[i], right[j])
        return Change(action, heavier(kind_of(one), kind_of(other)), one, other, note)

    def _offset(self, i: int, j: int) -> Change | None:
        """A difference in nothing but an offset that is ignored."""
        if self._offsets[0][i] == self._offsets[1][j]:
            return None
        one, other = self._left[i], self._right[j]
        return Change(Action.OPERAND, kind_of(one), one, other, ignored=Ignorable.OFFSETS)


def with_ignored(rows: Iterable[DiffRow], ignore: frozenset[Ignorable]) -> Iterator[DiffRow]:
    """``rows``, whose changes say by what kind of ``ignore`` they do not count: those of nothing
    but instructions of such kinds.
    """
    for row in rows:
        change = row.change
        if change is not None and change.ignored is None:
            sides = [one for one in (change.left, change.right) if one is not None]
            kinds = [kind for one in sides if (kind := ignorable_of(one)) in ignore]
            if len(kinds) == len(sides):
                row = replace(row, change=replace(change, ignored=kinds[0]))
        yield row


def _note(registers: Sequence[Register], left: Meaning, right: Meaning) -> str:
    """What differs where the texts do not."""
    unlike = dict.fromkeys(
        register_name(register)
        for register, one, other in zip(registers, left[1], right[1], strict=True)
        if one != other
    )
    return f"another value in {', '.join(unlike)}" if unlike else "leads elsewhere"


def _meanings(
    keys: Sequence[Key],
    registers: Sequence[tuple[Register, ...]],
    following: Sequence[int],
    variables: Mapping[int, Variable],
) -> list[Meaning]:
    return [
        (
            key.shape,
            own,
            _place(key.target, following),
            None if key.variable is None else variables[key.variable],
        )
        for key, own in zip(keys, registers, strict=True)
    ]


def _variables(
    keys: tuple[Sequence[Key], Sequence[Key]], pairs: Sequence[Pair]
) -> tuple[dict[int, Variable], dict[int, Variable]]:
    """By side and VA, which variable it is: one to one, as most pairs have it, the first first."""
    votes = Counter(
        (one.variable, other.variable)
        for one, other in ((keys[0][i], keys[1][j]) for i, j in pairs)
        if one.variable is not None and other.variable is not None and one.shape == other.shape
    )
    found: tuple[dict[int, Variable], dict[int, Variable]] = {}, {}
    for number, ((one, other), _) in enumerate(votes.most_common()):
        if one not in found[0] and other not in found[1]:
            found[0][one] = found[1][other] = number
    for side, (those, known) in enumerate(zip(keys, found, strict=True)):
        for key in those:
            if key.variable is not None:
                known.setdefault(key.variable, (side, key.variable))
    return found


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
