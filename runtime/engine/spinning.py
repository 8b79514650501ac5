"""Whether code can never leave the loop it is in: branches and hints only, and no interrupts.

Source: ARM DDI 0487, C4.1 (encodings of B, the compare and test branches, hints, barriers).
"""

from __future__ import annotations

from collections.abc import Callable

LONGEST = 64
"""Instructions that are followed; a vector slot padded with NOPs has 32."""

_WFI = 0xD503207F


def is_endless(fetch: Callable[[int], int | None], pc: int) -> bool:
    """Whether the code at ``pc``, already seen to come back to itself, does so for ever.

    Barriers and hints (WFI apart) change nothing that a branch could see; a conditional branch
    to itself was taken once and will be again. Anything else may change its mind.
    """
    start = pc
    for _ in range(LONGEST):
        word = fetch(pc)
        if word is None or word == _WFI:
            return False
        if word & 0xFC000000 == 0x14000000:
            pc += _signed(word, 0, 26) * 4
        elif _is_hint_or_barrier(word):
            pc += 4
        else:
            return pc == start and _conditional_offset(word) == 0
        if pc == start:
            return True
    return False


def _is_hint_or_barrier(word: int) -> bool:
    return word & 0xFFFFF01F == 0xD503201F or word & 0xFFFFF01F == 0xD503301F


def _conditional_offset(word: int) -> int | None:
    """The branch offset in words of B.cond, CBZ, CBNZ, TBZ or TBNZ."""
    if word & 0xFF000000 == 0x54000000 or word & 0x7E000000 == 0x34000000:
        return _signed(word, 5, 19)
    if word & 0x7E000000 == 0x36000000:
        return _signed(word, 5, 14)
    return None


def _signed(word: int, low: int, width: int) -> int:
    value = word >> low & (1 << width) - 1
    return value - (1 << width) if value >> width - 1 else value
