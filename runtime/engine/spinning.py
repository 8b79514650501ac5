"""Whether code can never leave the loop it is in: branches and hints only, and no interrupts."""

from __future__ import annotations

from collections.abc import Callable

from relokit.codegen.base.bits import signed
from relokit.codegen.instruction_forms import (
    B_COND,
    BARRIER,
    COMPARE_BRANCH,
    HINT,
    TEST_BRANCH,
    WFI,
    B,
)

LONGEST = 64
"""Instructions that are followed; a vector slot padded with NOPs has 32."""


def is_endless(fetch: Callable[[int], int | None], pc: int, *, waiting: bool = False) -> bool:
    """Whether the code at ``pc``, already seen to come back to itself, does so for ever.

    Barriers and hints (WFI apart, unless that is what it is ``waiting`` at) change nothing that a
    branch could see; a conditional branch to itself was taken once and will be again. Anything else
    may change its mind.
    """
    start = pc
    for _ in range(LONGEST):
        word = fetch(pc)
        if word is None or (word == WFI and not waiting):
            return False
        if B.holds(word):
            pc += signed(word, 26) * 4
        elif HINT.holds(word) or BARRIER.holds(word):
            pc += 4
        else:
            return pc == start and _conditional_offset(word) == 0
        if pc == start:
            return True
    return False


def _conditional_offset(word: int) -> int | None:
    """The branch offset in words of B.cond, CBZ, CBNZ, TBZ or TBNZ."""
    if B_COND.holds(word) or COMPARE_BRANCH.holds(word):
        return signed(word >> 5, 19)
    if TEST_BRANCH.holds(word):
        return signed(word >> 5, 14)
    return None
