"""Kinds of difference that need not count: pointer authentication, landing pads, hints, offsets.

An instruction is of such a kind by its word alone. One that does something besides is of none:
RETAA returns as well, LDRAA loads. Source: ARM DDI 0487, C4.1 and C6.2.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.suggestion import meant
from relokit.codegen.instruction_forms import HINT, UNSIGNED_OFFSET, InstructionForm
from relokit.diffing.instructions.decode import PLACE, Instruction

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Ignorable(StrEnum):
    """What a difference may be of, to be ignored."""

    PAC = "pac"
    BTI = "bti"
    HINTS = "hints"
    OFFSETS = "offsets"


HINT_KINDS = (
    # XPACLRI; PACIA1716, PACIB1716, AUTIA1716, AUTIB1716; PACIAZ to AUTIBSP; PACM.
    dict.fromkeys((7, 8, 10, 12, 14, *range(24, 32), 39), Ignorable.PAC)
    # BTI, and its forms for calls, jumps and both.
    | dict.fromkeys((32, 34, 36, 38), Ignorable.BTI)
)
"""By the number of a hint (C6.2, HINT); all others are HINTS, and what is unallocated a NOP."""

PAC_FORMS = (
    InstructionForm(0xFFFFE000, 0xDAC10000),  # PACIA to AUTDB: Xd and a modifier
    InstructionForm(0xFFFFE3E0, 0xDAC123E0),  # PACIZA to AUTDZB: Xd alone
    InstructionForm(0xFFFFFBE0, 0xDAC143E0),  # XPACI, XPACD
)
"""Data-processing (1 source), C4.1: what signs, authenticates or strips, and does nothing else."""

OFFSET_FORMS = (
    (UNSIGNED_OFFSET, 0x003FFC00),
    (InstructionForm(0x3B200C00, 0x38000000), 0x001FF000),  # LDUR, STUR
    (InstructionForm(0x3B200C00, 0x38000800), 0x001FF000),  # LDTR, STTR
    (InstructionForm(0x3B800000, 0x29000000), 0x003F8000),  # LDP, STP
    (InstructionForm(0x3B800000, 0x28000000), 0x003F8000),  # LDNP, STNP
)
"""Loads and stores by a base and an offset that leave the base as it is, and the offset's field."""

_BASE, _SP = 0x3E0, 0x3E0
"""Bits 9:5 are the base; 31 is SP, off which are slots of a stack and no members."""
_LEAVING = 0b101
"""Bits 28:26 of branches (C4.1): they lead to another place if the distance is another one."""
_DISTANCE = re.compile(r"[+-]0x[0-9a-f]+$")
_MEMBER = re.compile(r"(\[(?:x_|x30))(?:, #(-?(?:0x[0-9a-f]+|\d+)))?\]")


def ignorable_named(names: str) -> frozenset[Ignorable]:
    """The kinds in ``names``, with commas between them; raises RelokitError for any other."""
    found = set()
    for word in names.split(","):
        try:
            found.add(Ignorable(word.strip().lower()))
        except ValueError:
            raise RelokitError(
                f"{word.strip()[:40]!r} is no kind of difference that can be ignored",
                hint=f"{meant(word.strip().lower(), Ignorable)}there are {', '.join(Ignorable)}",
            ) from None
    return frozenset(found)


def ignorable_word(word: int) -> Ignorable | None:
    """What the whole of the instruction ``word`` is, if that can be ignored; never OFFSETS."""
    if HINT.holds(word):
        return HINT_KINDS.get(word >> 5 & 0x7F, Ignorable.HINTS)
    return Ignorable.PAC if any(form.holds(word) for form in PAC_FORMS) else None


def ignorable_of(instruction: Instruction) -> Ignorable | None:
    """The same of an instruction; data is of no kind, nor is what boot replaces or puts there."""
    if instruction.mnemonic.startswith(".") or instruction.at_boot or instruction.note:
        return None
    return ignorable_word(instruction.word)


def words_of(words: npt.NDArray[np.uint32], kind: Ignorable) -> npt.NDArray[np.bool_]:
    """Which of many words are of ``kind``, as :func:`ignorable_word` has it."""
    import numpy as np

    found: npt.NDArray[np.bool_] = np.zeros(len(words), np.bool_)
    hints = np.flatnonzero(words & np.uint32(HINT.mask) == HINT.value)
    table = np.array([HINT_KINDS.get(number, Ignorable.HINTS) is kind for number in range(128)])
    found[hints] = table[words[hints] >> np.uint32(5) & np.uint32(0x7F)]
    if kind is Ignorable.PAC:
        for mask, value in PAC_FORMS:
            found |= words & np.uint32(mask) == value
    return found


def without_offsets(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """``words`` with 0 for the offset of a member."""
    import numpy as np

    result = words.copy()
    member = words & np.uint32(_BASE) != _SP
    for (mask, value), offset in OFFSET_FORMS:
        at = np.flatnonzero(member & (words & np.uint32(mask) == value))
        result[at] &= np.uint32(0xFFFFFFFF & ~offset)
    return result


def without_offset(shape: str, instruction: Instruction) -> tuple[str, str]:
    """The ``shape`` of a key without what is an offset in it, and that; a field that is known by
    its name is none.
    """
    word, place = instruction.word, instruction.place
    if instruction.mnemonic.startswith("."):
        return shape, ""
    if PLACE in instruction.operands:
        # A string is named by its text, and a section has more than one thing in it.
        symbol = instruction.named and place[0] not in '".'
        if not symbol or word >> 26 & 7 == _LEAVING or place not in shape:
            return shape, ""
        name = _DISTANCE.sub("", place)
        return shape.replace(place, f"{name}+"), place[len(name) :]
    match = _MEMBER.search(shape)
    if not match or not any(form.holds(word) for form, _ in OFFSET_FORMS):
        return shape, ""
    return f"{shape[: match.start()]}{match[1]}, #+{shape[match.end() :]}", match[2] or "0"


def leaves(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which of many words are branches."""
    import numpy as np

    found: npt.NDArray[np.bool_] = words >> np.uint32(26) & np.uint32(7) == _LEAVING
    return found
