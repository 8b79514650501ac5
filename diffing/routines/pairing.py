"""Which instruction is which, and which register: each found with the help of the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from operator import ne

from relokit.codegen.base.nouns import dataclass
from relokit.diffing.instructions.decode import Instruction
from relokit.diffing.instructions.live_ranges import Ranges, live_ranges
from relokit.diffing.instructions.normalise import Key, Register
from relokit.diffing.routines.align import CellBudget, Pair, align

ROUNDS = 3
"""Alignments of one routine, each with the renaming that the one before it shows."""

# How well two instructions correspond: alike, alike but for registers, of the same mnemonic.
SAME, SAME_SHAPE, SAME_MNEMONIC = 24, 16, 5
MOST_REGISTERS = 6

UNLIKE = "?"
"""Bank of a register whose name is taken on the other side: it is like none."""

Renaming = Mapping[int, Register]
"""What the right calls the register of a live range of the left."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """``pairs`` of indices, ascending, and ``names``, the left's registers as the right says.

    ``renamed`` are the registers with another name, left and right; ``unlike`` counts the
    instructions that have no counterpart, or one that differs.
    """

    pairs: list[Pair]
    names: tuple[tuple[Register, ...], ...] = field(repr=False)
    renamed: frozenset[tuple[Register, Register]]
    unlike: int


class Pairer:
    """Pairs the instructions of two routines."""

    def __init__(
        self,
        code: Sequence[Instruction],
        left: Sequence[Key],
        right: Sequence[Key],
        budget: CellBudget,
    ) -> None:
        self._code, self._left, self._right = code, left, right
        self._budget = budget

    def solve(self, *, rename: bool) -> Pairing:
        """The best pairing; a renaming has to explain more than equal names do."""
        best = self._paired({})
        if not rename or not best.unlike:
            return best
        left, right = ([(key.shape, ()) for key in keys] for keys in (self._left, self._right))
        renaming = self.suggested(_aligned(left, right, self._budget))
        for _ in range(ROUNDS):
            found = self._paired(renaming)
            if found.unlike < best.unlike:
                best = found
            better = self.suggested(found.pairs)
            if better == renaming:
                break
            renaming = better
        return best

    def names(self, renaming: Renaming) -> tuple[tuple[Register, ...], ...]:
        """Each left instruction's registers under ``renaming``.

        A range without a name of its own there keeps its register, unless that is another one's.
        """
        if not renaming:
            return tuple(key.registers for key in self._left)
        taken = _by_register(renaming)
        final = {
            one: renaming.get(one)
            or ((UNLIKE, own[1]) if self._conflicts(one, own, taken) else own)
            for one, own in self._ranges.register.items()
        }
        return tuple(tuple(final[one] for one in operands) for operands in self._ranges.operands)

    def suggested(self, pairs: Sequence[Pair]) -> Renaming:
        """The renaming that paired operands vote for.

        A tie goes to the register's own name, then to the lowest numbers.
        """
        ranges = self._ranges
        votes: Counter[tuple[int, Register]] = Counter()
        for i, j in pairs:
            if self._left[i].shape == self._right[j].shape:
                votes.update(zip(ranges.operands[i], self._right[j].registers, strict=True))

        def rank(vote: tuple[tuple[int, Register], int]) -> tuple[int, bool, Register, int]:
            (one, register), count = vote
            return -count, ranges.register[one] != register, register, one

        chosen: dict[int, Register] = {}
        taken: dict[Register, list[int]] = defaultdict(list)
        for (one, register), _ in sorted(votes.items(), key=rank):
            if one not in chosen and not self._conflicts(one, register, taken):
                chosen[one] = register
                taken[register].append(one)
        return chosen

    @cached_property
    def _ranges(self) -> Ranges:
        return live_ranges(self._code, self._left)

    def _conflicts(
        self, one: int, register: Register, taken: Mapping[Register, Sequence[int]]
    ) -> bool:
        """Whether ``register`` gets another value than that of ``one`` while that is needed."""
        ranges = self._ranges
        return not ranges.fits(one, register) or any(
            ranges.apart(one, other) for other in taken.get(register, ())
        )

    def _paired(self, renaming: Renaming) -> Pairing:
        names = self.names(renaming)
        left = [(key.shape, own) for key, own in zip(self._left, names, strict=True)]
        right = [(key.shape, key.registers) for key in self._right]
        pairs = _aligned(left, right, self._budget)
        alike = sum(left[i] == right[j] for i, j in pairs)
        return Pairing(
            pairs,
            names,
            # What only instructions that are unlike anyway have voted for is no renaming.
            frozenset(
                (old, new)
                for i, j in pairs
                if self._left[i].shape == self._right[j].shape
                for old, new in zip(self._left[i].registers, names[i], strict=True)
                if old != new and new[0] != UNLIKE
            ),
            len(left) + len(right) - len(pairs) - alike,
        )


def _by_register(renaming: Renaming) -> dict[Register, list[int]]:
    taken: dict[Register, list[int]] = defaultdict(list)
    for one, register in renaming.items():
        taken[register].append(one)
    return taken


Item = tuple[str, tuple[Register, ...]]
"""What is aligned: a shape and its registers."""


def _aligned(left: Sequence[Item], right: Sequence[Item], budget: CellBudget) -> list[Pair]:
    """Pairs of the items that correspond best. Between the ends that are alike everything is
    compared as numbers.
    """
    both = min(len(left), len(right))
    head = next((at for at in range(both) if left[at] != right[at]), both)
    tail = next((at for at in range(both - head) if left[-1 - at] != right[-1 - at]), both - head)
    pairs = [(at, at) for at in range(head)]
    ends = len(left) - tail, len(right) - tail
    pairs += [
        (head + i, head + j)
        for i, j in _aligned_unlike(left[head : ends[0]], right[head : ends[1]], budget)
    ]
    return pairs + [(ends[0] + at, ends[1] + at) for at in range(tail)]


def _aligned_unlike(left: Sequence[Item], right: Sequence[Item], budget: CellBudget) -> list[Pair]:
    items: dict[Item, int] = {}
    shapes: dict[str, int] = {}
    words: dict[str, int] = {}
    sides = [
        [
            (
                items.setdefault(item, len(items)),
                shapes.setdefault(item[0], len(shapes)),
                words.setdefault(item[0].partition(" ")[0], len(words)),
            )
            for item in side
        ]
        for side in (left, right)
    ]
    ours, theirs = sides

    def score(i: int, j: int) -> int:
        one, other = ours[i], theirs[j]
        if one[0] == other[0]:
            return SAME
        if one[1] == other[1]:
            unlike: int = sum(map(ne, left[i][1], right[j][1]))
            return SAME_SHAPE - min(unlike, MOST_REGISTERS)
        return SAME_MNEMONIC if one[2] == other[2] else 0

    return align([one[0] for one in ours], [one[0] for one in theirs], score, budget)
