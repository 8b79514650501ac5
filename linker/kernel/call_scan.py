"""Calls in A64 code with those arguments that are constants: addresses of the kernel itself.

Encodings: DDI 0487, C4.1. Straight through a function, not along its branches: enough to see
what a compiler puts into registers just before a call, which the caller then has to check.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from relokit.codegen.base.bits import signed
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import BL, BLR, WITHIN_PAGE

CALL_CLOBBERS = range(19)
"""x0 to x18 do not survive a call (AAPCS64)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A ``bl``: byte offsets in the scanned image; ``constants`` maps X registers to values."""

    at: int
    target: int
    constants: Mapping[int, int]


def calls(image: memoryview, start: int, end: int) -> Iterator[Call]:
    """Every ``bl`` in the bytes ``start`` to ``end`` of ``image``; addresses count from its start.

    Followed are adr, adrp, add, sub and mov between X registers; whatever else writes a register
    makes it unknown.
    """
    known: dict[int, int] = {}
    words = struct.iter_unpack("<I", image[start : start + (end - start) // 4 * 4])
    for at, (word,) in zip(range(start, end, 4), words, strict=False):
        if BL.holds(word):
            yield Call(at, at + 4 * signed(word, 26), dict(known))
            for register in CALL_CLOBBERS:
                known.pop(register, None)
            continue
        if BLR.holds(word):
            for register in CALL_CLOBBERS:
                known.pop(register, None)
            continue
        if word >> 26 & 0b111 == 0b101:  # other branches, exceptions, system: write nothing here
            continue
        for register in written(word):
            value = _value(word, at, known) if register == word & 31 else None
            if value is None or register == 31:
                known.pop(register, None)
            else:
                known[register] = value


def _value(word: int, at: int, known: Mapping[int, int]) -> int | None:
    """What the instruction puts into its destination, if that is a constant."""
    source, second = known.get(word >> 5 & 31), known.get(word >> 16 & 31)
    if word >> 24 & 0x1F == 0b10000:  # adr, adrp
        immediate = signed(word >> 5, 19) << 2 | word >> 29 & 3
        return (at & ~WITHIN_PAGE) + (immediate << 12) if word >> 31 else at + immediate
    if word & 0xFFE0FFE0 == 0xAA0003E0:  # mov xd, xm
        return second
    if source is None:
        return None
    if word & 0xBF800000 == 0x91000000:  # add, sub xd, xn, #imm
        immediate = word >> 10 & 0xFFF
        immediate <<= 12 * (word >> 22 & 1)
        return source - immediate if word >> 30 & 1 else source + immediate
    if word & 0xBFE0FC00 == 0x8B000000 and second is not None:  # add, sub xd, xn, xm
        return source - second if word >> 30 & 1 else source + second
    return None


def written(word: int) -> tuple[int, ...]:
    """General registers that an instruction may write, as far as they can be constants here."""
    target, base, second = word & 31, word >> 5 & 31, word >> 10 & 31
    if word >> 25 & 0b101 != 0b100:  # not a load or store: a destination at most
        return (target,)
    if word >> 28 & 0b11 == 0b10:  # pair; bits 24:23 say how the base moves
        moved = (base,) if word >> 23 & 1 else ()
        return (target, second, *moved) if word >> 22 & 1 else moved
    if word >> 28 & 0b11 == 0b11:  # one register
        unscaled = not word >> 24 & 1
        moved = (base,) if unscaled and not word >> 21 & 1 and word >> 10 & 1 else ()
        atomic = unscaled and word >> 21 & 1 and not word >> 10 & 0b11
        return moved if not word >> 22 & 0b11 and not atomic else (target, *moved)
    return (target,)
