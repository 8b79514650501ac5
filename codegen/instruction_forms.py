"""Instructions by mask and value of their word, and where a distance is in one that has it.

Source: ARM DDI 0487, C4.1.
"""

from __future__ import annotations

from typing import NamedTuple

from relokit.codegen.base.bits import signed


class InstructionForm(NamedTuple):
    """The words with ``value`` under ``mask``."""

    mask: int
    value: int

    def holds(self, word: int) -> bool:
        """Whether ``word`` is one of them."""
        return word & self.mask == self.value


NOP = 0xD503201F
WFI = 0xD503207F
BRK = 0xD4200000
"""BRK #0."""

B = InstructionForm(0xFC000000, 0x14000000)
BL = InstructionForm(0xFC000000, 0x94000000)
BR = InstructionForm(0xFFFFFC1F, 0xD61F0000)
BLR = InstructionForm(0xFFFFFC1F, 0xD63F0000)
BRANCH_OR_CALL = InstructionForm(0x7C000000, 0x14000000)
"""B and BL."""
B_COND = InstructionForm(0xFF000000, 0x54000000)
"""B.cond and BC.cond."""
COMPARE_BRANCH = InstructionForm(0x7E000000, 0x34000000)
"""CBZ and CBNZ."""
TEST_BRANCH = InstructionForm(0x7E000000, 0x36000000)
"""TBZ and TBNZ."""
REGISTER_BRANCH = InstructionForm(0xFE000000, 0xD6000000)
"""BR, BLR, RET, ERET and their kin: opc in bits 24:21."""
EXCEPTION = InstructionForm(0xFFE0001C, 0xD4000000)
"""SVC, HVC, SMC."""
HVC = InstructionForm(0xFFE0001F, 0xD4000002)

SYSTEM = InstructionForm(0xFFC00000, 0xD5000000)
"""System instructions, hints and barriers among them (C4.1.95)."""
HINT = InstructionForm(0xFFFFF01F, 0xD503201F)
"""CRm and op2 in bits 11:5 are its number."""
BARRIER = InstructionForm(0xFFFFF01F, 0xD503301F)
"""CLREX, DSB, DMB, ISB, SB, DSB nXS: CRm in bits 11:8, op2 in bits 7:5 (C4.1.95)."""
DSB_NXS = InstructionForm(0xFFFFF3FF, 0xD503323F)

ADR = InstructionForm(0x9F000000, 0x10000000)
ADRP = InstructionForm(0x9F000000, 0x90000000)
"""Bits 23:5 are the high part of the distance, 30:29 the low one, in ADR too."""
ADR_FIELD = 0x60FFFFE0
WITHIN_PAGE = 0xFFF
"""The bits of an address that ADRP leaves to what completes it, whatever the granule."""
ADD = InstructionForm(0xFFC00000, 0x91000000)
"""ADD (immediate) of X registers without a shift: completes an ADRP."""
UNSIGNED_OFFSET = InstructionForm(0x3B000000, 0x39000000)
"""Loads and stores with an unsigned scaled offset: complete one too."""
LITERAL = InstructionForm(0x3B000000, 0x18000000)
"""LDR (literal) and PRFM (literal)."""

RELATIVE = (
    (*BRANCH_OR_CALL, 0, 26),
    (*B_COND, 5, 19),
    (*COMPARE_BRANCH, 5, 19),
    (*TEST_BRANCH, 5, 14),
    (*LITERAL, 5, 19),
)
"""Mask, value, lowest bit and width of the field; its unit is a word."""


def target_of(word: int, address: int) -> int | None:
    """The VA that ``word`` at ``address`` names by its distance: branches, literals, ADR, ADRP."""
    for mask, value, low, width in RELATIVE:
        if word & mask == value:
            return address + 4 * signed(word >> low, width)
    distance = signed(word >> 5 << 2 & 0x1FFFFC | word >> 29 & 3, 21)
    if ADRP.holds(word):
        return (address & ~WITHIN_PAGE) + (distance << 12)
    return address + distance if ADR.holds(word) else None


_MOVE_KEEPS = 1 << 30
"""Of MOVN, MOVZ: set in MOVZ (C4.1.93, "Move wide (immediate)", opc)."""


def signed_move(word: int, value: int) -> tuple[int, int]:
    """MOVZ or MOVN for a signed ``value``, and what its field is of: MOVN stores the inverse."""
    return (word & ~_MOVE_KEEPS, ~value) if value < 0 else (word | _MOVE_KEEPS, value)


_MNEMONICS = {0b100: "dsb", 0b101: "dmb", 0b110: "isb"}
# CRm of DSB and DMB: shareability domain in bits 3:2, access types in bits 1:0.
_DOMAINS = ("osh", "nsh", "ish", "")
_TYPES = {0b01: "ld", 0b10: "st", 0b11: ""}


def barrier_name(word: int) -> str | None:
    """``dsb sy``, ``dsb nsh``, ``isb`` ... of an instruction word; None if it is no barrier."""
    if not BARRIER.holds(word):
        return None
    mnemonic = _MNEMONICS.get(word >> 5 & 7)
    if mnemonic is None or mnemonic == "isb":
        return mnemonic
    option = word >> 8 & 15
    if option & 3 not in _TYPES:
        return f"{mnemonic} #{option}"
    return f"{mnemonic} {_DOMAINS[option >> 2] + _TYPES[option & 3] or 'sy'}"
