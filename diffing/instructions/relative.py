"""Which instructions refer to a place by its distance, and where the distance is in the word.

Source: ARM DDI 0487, C4.1.
"""

from __future__ import annotations

RELATIVE = (
    (0x7C000000, 0x14000000, 0, 26),  # B, BL
    (0xFF000000, 0x54000000, 5, 19),  # B.cond, BC.cond
    (0x7E000000, 0x34000000, 5, 19),  # CBZ, CBNZ
    (0x7E000000, 0x36000000, 5, 14),  # TBZ, TBNZ
    (0x3B000000, 0x18000000, 5, 19),  # LDR (literal), PRFM (literal)
)
"""Mask, value, lowest bit and width of the field; its unit is a word."""
ADR_MASK, ADR, ADRP = 0x9F000000, 0x10000000, 0x90000000
"""ADR and ADRP: bits 23:5 are the high part, 30:29 the low one."""
ADR_FIELD = 0x60FFFFE0
ADD_MASK, ADD = 0xFFC00000, 0x91000000
"""ADD (immediate) of X registers without a shift: completes an ADRP."""
UNSIGNED_MASK, UNSIGNED = 0x3B000000, 0x39000000
"""Loads and stores with an unsigned scaled offset: complete one too."""
LITERAL_MASK, LITERAL = 0x3B000000, 0x18000000
