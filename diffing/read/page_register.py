"""How long a register holds the page that an ADRP put there.

Encodings: ARM DDI 0487, C4.1.
"""

from __future__ import annotations

from collections.abc import Iterable

from relokit.codegen.instruction_forms import (
    B_COND,
    BLR,
    COMPARE_BRANCH,
    SYSTEM,
    TEST_BRANCH,
    InstructionForm,
)

REACH = 256
"""Instructions behind an ADRP in which the low half of its address is looked for."""

LEAVING = InstructionForm(0x1C000000, 0x14000000)
"""Branches, exceptions and system instructions (C4.1.86)."""
CALL = InstructionForm(0xFC000000, 0x94000000)
_PAIR = InstructionForm(0x3A000000, 0x28000000)
_ONE = InstructionForm(0x3B200000, 0x38000000)
"""Load or store of one register with nine bits of offset."""
_EXCLUSIVE = InstructionForm(0x3F000000, 0x08000000)
_STRUCTURE = InstructionForm(0xBE000000, 0x0C000000)
_AUTHENTICATED = InstructionForm(0xFF200400, 0xF8200400)
_TAG = InstructionForm(0xFF200000, 0xD9200000)
_COPY = InstructionForm(0x3B200C00, 0x19000400)
"""CPY and SET: all three registers are written."""


SAVED = range(19, 29)
"""Registers that a call preserves (AAPCS64)."""
GOES_ON = (SYSTEM, B_COND, COMPARE_BRANCH, TEST_BRANCH)
"""What of LEAVING goes on behind it; with a register that is preserved, CALLS do."""
CALLS = (CALL, BLR)
WRITTEN = (
    # Before or after the access, the base is moved on.
    (_PAIR, 23, 5), (_STRUCTURE, 23, 5), (_ONE, 10, 5), (_TAG, 10, 5), (_AUTHENTICATED, 11, 5),
    (_COPY, 10, 5), (_PAIR, 29, 10), (_EXCLUSIVE, 27, 10), (_EXCLUSIVE, 27, 16), (_COPY, 10, 16),
)  # fmt: skip
"""Forms that write the register at a bit (the last) if another bit is set, beside bits 4:0."""


def loses(word: int, register: int) -> bool:
    """Whether ``word`` ends that ``register`` holds what it held: it writes it, or does not go on.

    Where a field may be one that is written, it is.
    """
    if LEAVING.holds(word):
        if not _any(GOES_ON, word):
            return not (register in SAVED and _any(CALLS, word))
        return SYSTEM.holds(word) and word & 31 == register
    return word & 31 == register or any(
        word >> shift & 31 == register and word >> when & 1 and form.holds(word)
        for form, when, shift in WRITTEN
    )


def _any(forms: Iterable[InstructionForm], word: int) -> bool:
    return any(form.holds(word) for form in forms)
