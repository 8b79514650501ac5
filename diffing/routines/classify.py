"""What an instruction is about, by its encoding. Source: ARM DDI 0487, C4.1, C5.1 and C6.2."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from relokit.codegen.instruction_forms import BARRIER, DSB_NXS, HINT, SYSTEM
from relokit.codegen.system_registers import decode_system
from relokit.diffing.instructions.decode import Instruction

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class ChangeKind(StrEnum):
    """What a difference is about."""

    BARRIER = "barrier"
    CACHE = "cache"
    TLB = "tlb"
    SYSTEM = "system"
    MEMORY = "memory"
    CONTROL = "control"
    ARITHMETIC = "arithmetic"
    HINT = "hint"
    DATA = "data"


NOUNS: dict[ChangeKind, tuple[str, str]] = {
    ChangeKind.BARRIER: ("barrier", "barriers"),
    ChangeKind.CACHE: ("cache operation", "cache operations"),
    ChangeKind.TLB: ("TLB operation", "TLB operations"),
    ChangeKind.SYSTEM: ("system register access", "system register accesses"),
    ChangeKind.MEMORY: ("memory access", "memory accesses"),
    ChangeKind.CONTROL: ("branch", "branches"),
    ChangeKind.ARITHMETIC: ("arithmetic instruction", "arithmetic instructions"),
    ChangeKind.HINT: ("hint", "hints"),
    ChangeKind.DATA: ("data word", "data words"),
}
"""One and many."""

# Order of weight: of two kinds that meet in a changed instruction, the first one names it.
WEIGHT = tuple(ChangeKind)

# SYS operations by mnemonic (C5.1).
_OPERATIONS = {
    "dc": ChangeKind.CACHE,
    "ic": ChangeKind.CACHE,
    "tlbi": ChangeKind.TLB,
}
# CSDB, ESB, PSB, TSB, DGH are in the hint space and are barriers (C6.2).
_HINT_BARRIERS = frozenset({6, 16, 17, 18, 20})
_CLREX = 2
# By bits 28:25, the top level of A64 (C4.1): reserved, loads and stores, branches, all else.
_D, _M, _C, _A = ChangeKind.DATA, ChangeKind.MEMORY, ChangeKind.CONTROL, ChangeKind.ARITHMETIC
_GROUPS = (_D, _A, _A, _A, _M, _A, _M, _A, _A, _A, _C, _C, _M, _A, _M, _A)
# The reserved group has SME where bit 31 is set, its loads and stores where 30 and 29 are too.
_SME, _SME_MEMORY = 0b1000000, 0b1110000
TOPS = tuple(
    _M if top == _SME_MEMORY else _A if top & 0b1001111 == _SME else _GROUPS[top & 15]
    for top in range(128)
)
"""By bits 31:25, of what is no System instruction."""


def kind_of(instruction: Instruction) -> ChangeKind:
    """What ``instruction`` is about."""
    return ChangeKind.DATA if instruction.mnemonic == ".word" else kind_of_word(instruction.word)


def kind_of_word(word: int) -> ChangeKind:
    """What ``word`` is about, taken as an instruction."""
    if HINT.holds(word):
        return ChangeKind.BARRIER if word >> 5 & 0x7F in _HINT_BARRIERS else ChangeKind.HINT
    if BARRIER.holds(word) or DSB_NXS.holds(word):
        return ChangeKind.MEMORY if word >> 5 & 7 == _CLREX else ChangeKind.BARRIER
    system = decode_system(word)
    if system:
        return _OPERATIONS.get(system.text.partition(" ")[0], ChangeKind.SYSTEM)
    return TOPS[word >> 25]


def kinds_of_words(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """``kind_of_word`` of many, each as its place in WEIGHT."""
    import numpy as np

    tops = np.array([WEIGHT.index(kind) for kind in TOPS], np.uint8)
    kinds: npt.NDArray[np.uint8] = tops[words >> np.uint32(25)]
    system = np.flatnonzero(words & np.uint32(SYSTEM.mask) == SYSTEM.value)
    # Of Rt it only matters whether it is 31, which leaves few different ones to look at.
    chosen = words[system]
    chosen = np.where(chosen & np.uint32(31) == 31, chosen, chosen & ~np.uint32(31))
    unique, which = np.unique(chosen, return_inverse=True)
    table = [WEIGHT.index(kind_of_word(word)) for word in unique.tolist()]
    kinds[system] = np.array(table, np.uint8)[which]
    return kinds


def heavier(one: ChangeKind, other: ChangeKind) -> ChangeKind:
    """The kind that names a change from one to the other."""
    return min(one, other, key=WEIGHT.index)
