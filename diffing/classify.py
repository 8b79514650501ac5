"""What an instruction is about, by its encoding. Source: ARM DDI 0487, C4.1, C5.1 and C6.2."""

from __future__ import annotations

from enum import StrEnum

from relokit.codegen.system_registers import decode_system
from relokit.diffing.decode import Instruction


class Kind(StrEnum):
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


NOUNS: dict[Kind, tuple[str, str]] = {
    Kind.BARRIER: ("barrier", "barriers"),
    Kind.CACHE: ("cache operation", "cache operations"),
    Kind.TLB: ("TLB operation", "TLB operations"),
    Kind.SYSTEM: ("system register access", "system register accesses"),
    Kind.MEMORY: ("memory access", "memory accesses"),
    Kind.CONTROL: ("branch", "branches"),
    Kind.ARITHMETIC: ("arithmetic instruction", "arithmetic instructions"),
    Kind.HINT: ("hint", "hints"),
    Kind.DATA: ("data word", "data words"),
}
"""One and many."""

# Order of weight: of two kinds that meet in a changed instruction, the first one names it.
WEIGHT = tuple(Kind)

# SYS operations by mnemonic (C5.1).
_OPERATIONS = {
    "dc": Kind.CACHE,
    "ic": Kind.CACHE,
    "tlbi": Kind.TLB,
}
# CSDB, ESB, PSB, TSB, DGH are in the hint space and are barriers (C6.2).
_HINT_BARRIERS = frozenset({6, 16, 17, 18, 20})
_HINT_MASK, _HINT = 0xFFFFF01F, 0xD503201F
# CLREX, DSB, DMB, ISB, SB, DSB nXS: CRn = 3, Rt = 31 (C4.1.95).
_BARRIER_MASK, _BARRIER = 0xFFFFF01F, 0xD503301F
_NXS_MASK, _NXS = 0xFFFFF3FF, 0xD503323F
_CLREX = 2
# Bits 28:25, the top level of A64 (C4.1).
_RESERVED = 0b0000
_MEMORY = frozenset({0b0100, 0b0110, 0b1100, 0b1110})
_BRANCHES = frozenset({0b1010, 0b1011})


def kind_of(instruction: Instruction) -> Kind:
    """What ``instruction`` is about."""
    word = instruction.word
    group = word >> 25 & 15
    if instruction.mnemonic == ".word" or group == _RESERVED:
        return Kind.DATA
    if word & _HINT_MASK == _HINT:
        return Kind.BARRIER if word >> 5 & 0x7F in _HINT_BARRIERS else Kind.HINT
    if word & _BARRIER_MASK == _BARRIER or word & _NXS_MASK == _NXS:
        return Kind.MEMORY if word >> 5 & 7 == _CLREX else Kind.BARRIER
    if decode_system(word):
        return _OPERATIONS.get(instruction.mnemonic, Kind.SYSTEM)
    if group in _MEMORY:
        return Kind.MEMORY
    return Kind.CONTROL if group in _BRANCHES else Kind.ARITHMETIC


def heavier(one: Kind, other: Kind) -> Kind:
    """The kind that names a change from one to the other."""
    return min(one, other, key=WEIGHT.index)
