"""The renaming of registers, one to one, that makes two aligned routines most alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from relokit.diffing.normalise import Key, Register


def renaming(pairs: Iterable[tuple[Key, Key]]) -> dict[Register, Register]:
    """What each register of the left is called on the right; by the votes of aligned operands.

    A tie goes to the register's own name, then to the lowest numbers, whichever side is left.
    """
    votes: Counter[tuple[Register, Register]] = Counter()
    for left, right in pairs:
        if left.shape == right.shape:
            votes.update(zip(left.registers, right.registers, strict=True))
    chosen: dict[Register, Register] = {}
    taken: set[Register] = set()
    for (left_register, right_register), _ in sorted(votes.items(), key=_rank):
        if left_register not in chosen and right_register not in taken:
            chosen[left_register] = right_register
            taken.add(right_register)
    return chosen


def _rank(vote: tuple[tuple[Register, Register], int]) -> tuple[int, bool, Register, Register]:
    (one, other), count = vote
    return -count, one != other, min(one, other), max(one, other)


def renamed(
    registers: Iterable[Register], names: Mapping[Register, Register], taken: frozenset[Register]
) -> tuple[Register, ...]:
    """``registers`` as the other side calls them; ``taken`` are those that ``names`` leads to.

    One without a name of its own there keeps its name, unless that is another one's: then it is
    unlike all.
    """
    return tuple(
        names.get(register, ("?", register[1]) if register in taken else register)
        for register in registers
    )
