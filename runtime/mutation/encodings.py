"""A64 instructions by class, with their fields: what a mutant of a word can be wrong in.

Source: ARM DDI 0487, C4.1. Only the classes that code of this kind uses: integers, loads and
stores of one or two registers, branches, system. Another word has no fields here.
"""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import (
    ADR,
    ADR_FIELD,
    B_COND,
    BRANCH_OR_CALL,
    COMPARE_BRANCH,
    EXCEPTION,
    LITERAL,
    REGISTER_BRANCH,
    RELATIVE,
    SYSTEM,
    TEST_BRANCH,
    UNSIGNED_OFFSET,
    InstructionForm,
)


@dataclass(frozen=True, slots=True)
class BitField:
    """``width`` bits of an instruction word from bit ``low`` on."""

    name: str
    low: int
    width: int

    def get(self, word: int) -> int:
        """Its value in ``word``."""
        return word >> self.low & self.most

    def put(self, word: int, value: int) -> int:
        """``word`` with ``value`` in it, modulo its width."""
        return word & ~(self.most << self.low) | (value & self.most) << self.low

    @property
    def most(self) -> int:
        """Its largest value."""
        return (1 << self.width) - 1


RD, RN, RM = BitField("Rd", 0, 5), BitField("Rn", 5, 5), BitField("Rm", 16, 5)
RT, RT2, RA = BitField("Rt", 0, 5), BitField("Rt2", 10, 5), BitField("Ra", 10, 5)
SF = BitField("sf", 31, 1)
S = BitField("S", 29, 1)
"""Whether flags are set; of ADD, SUB and their kin."""
COND = BitField("cond", 0, 4)
COND_OF_SELECT = BitField("cond", 12, 4)
IMMR, IMMS = BitField("immr", 16, 6), BitField("imms", 10, 6)
HW = BitField("hw", 21, 2)
IMM16 = BitField("imm16", 5, 16)
BIT_NUMBER = BitField("b40", 19, 5)
OPPOSITE = BitField("op", 24, 1)
"""CBZ or CBNZ, TBZ or TBNZ."""
LOAD = BitField("L", 22, 1)
PAIR_MODE = BitField("mode", 23, 2)
SINGLE_MODE = BitField("mode", 10, 2)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A class of instructions. ``kinds`` are fields that choose which one of it."""

    name: str
    form: InstructionForm
    registers: tuple[BitField, ...] = ()
    immediates: tuple[BitField, ...] = ()
    kinds: tuple[BitField, ...] = ()
    has_width: bool = False
    sets_flags: BitField | None = None
    condition: BitField | None = None


EXCEPTION_RETURN = InstructionForm(0xFFFFFFFF, 0xD69F03E0)
_OPC = BitField("opc", 29, 2)
_OP = BitField("op", 30, 1)
SHIFT = BitField("shift", 22, 2)
IMM6 = BitField("imm6", 10, 6)

ENCODINGS: tuple[Encoding, ...] = (
    Encoding("address", InstructionForm(0x1F000000, 0x10000000), (RD,)),
    Encoding(
        "add-immediate", InstructionForm(0x1F800000, 0x11000000), (RD, RN),
        (BitField("imm12", 10, 12), BitField("sh", 22, 1)), (_OP,),
        has_width=True, sets_flags=S,
    ),
    Encoding(
        "logical-immediate", InstructionForm(0x1F800000, 0x12000000), (RD, RN), (IMMR, IMMS),
        (_OPC,),
    ),
    Encoding(
        "move-wide", InstructionForm(0x1F800000, 0x12800000), (RD,), (HW,), (_OPC,),
        has_width=True,
    ),
    Encoding("bitfield", InstructionForm(0x1F800000, 0x13000000), (RD, RN), (IMMR, IMMS), (_OPC,)),
    Encoding("extract", InstructionForm(0x1F800000, 0x13800000), (RD, RN, RM), (IMMS,)),
    Encoding("branch-if", B_COND, condition=COND),
    Encoding("compare-branch", COMPARE_BRANCH, (RT,), kinds=(OPPOSITE,), has_width=True),
    Encoding("test-branch", TEST_BRANCH, (RT,), (BIT_NUMBER,), (OPPOSITE,)),
    Encoding("branch", BRANCH_OR_CALL, kinds=(SF,)),
    Encoding("exception-return", EXCEPTION_RETURN, kinds=(BitField("opc", 21, 2),)),
    Encoding("register-branch", REGISTER_BRANCH, (RN,), kinds=(BitField("opc", 21, 2),)),
    Encoding("exception", EXCEPTION, kinds=(BitField("LL", 0, 2),)),
    Encoding(
        "pair", InstructionForm(0x3A000000, 0x28000000), (RT, RN, RT2),
        (BitField("imm7", 15, 7),), (LOAD, PAIR_MODE), has_width=True,
    ),
    Encoding("literal", LITERAL, (RT,)),
    Encoding(
        "offset", UNSIGNED_OFFSET, (RT, RN), (BitField("imm12", 10, 12),),
        (LOAD, BitField("size", 30, 1)),
    ),
    Encoding(
        "indexed", InstructionForm(0x3B200000, 0x38000000), (RT, RN),
        (BitField("imm9", 12, 9),), (LOAD, BitField("size", 30, 1), SINGLE_MODE),
    ),
    Encoding(
        "register-offset", InstructionForm(0x3B200C00, 0x38200800), (RT, RN, RM), (),
        (LOAD, BitField("size", 30, 1), BitField("S", 12, 1)),
    ),
    Encoding(
        "logical", InstructionForm(0x1F000000, 0x0A000000), (RD, RN, RM), (IMM6,),
        (_OPC, BitField("N", 21, 1), SHIFT), has_width=True,
    ),
    Encoding(
        "add", InstructionForm(0x1F200000, 0x0B000000), (RD, RN, RM), (IMM6,), (_OP, SHIFT),
        has_width=True, sets_flags=S,
    ),
    Encoding(
        "add-extended", InstructionForm(0x1F200000, 0x0B200000), (RD, RN, RM),
        (BitField("imm3", 10, 3),), (_OP, BitField("option", 13, 3)),
        has_width=True, sets_flags=S,
    ),
    Encoding(
        "select", InstructionForm(0x1FE00000, 0x1A800000), (RD, RN, RM),
        kinds=(_OP, BitField("op2", 10, 1)), has_width=True, condition=COND_OF_SELECT,
    ),
    Encoding(
        "conditional-compare", InstructionForm(0x1FE00000, 0x1A400000), (RN, RM),
        (BitField("nzcv", 0, 4),), (_OP,), has_width=True, condition=COND_OF_SELECT,
    ),
    Encoding(
        "two-sources", InstructionForm(0x5FE00000, 0x1AC00000), (RD, RN, RM),
        kinds=(BitField("opcode", 10, 2),), has_width=True,
    ),
    Encoding(
        "one-source", InstructionForm(0x5FE00000, 0x5AC00000), (RD, RN),
        kinds=(BitField("opcode", 10, 2),),
    ),
    Encoding(
        "three-sources", InstructionForm(0x1F000000, 0x1B000000), (RD, RN, RM, RA),
        kinds=(BitField("o0", 15, 1),), has_width=True,
    ),
)  # fmt: skip

_SYSTEM_REGISTER = Encoding("system", SYSTEM, (RT,))
_TAKES_REGISTER = (
    InstructionForm(0xFFD00000, 0xD5100000),  # MSR, MRS
    InstructionForm(0xFFD80000, 0xD5080000),  # SYS, SYSL
)


def encoding_of(word: int) -> Encoding | None:
    """The class of ``word``, None if it has no field that is known here."""
    if any(form.holds(word) for form in _TAKES_REGISTER):
        return _SYSTEM_REGISTER
    return next((one for one in ENCODINGS if one.form.holds(word)), None)


@dataclass(frozen=True, slots=True)
class Distance:
    """The field of a word that says how far away its target is, in units of ``unit`` bytes."""

    low: int
    width: int
    unit: int = 4

    def get(self, word: int) -> int:
        """Bytes from the word to its target; negative before it."""
        value = word >> self.low & (1 << self.width) - 1
        if value >> self.width - 1:
            value -= 1 << self.width
        return value * self.unit

    def put(self, word: int, distance: int) -> int | None:
        """``word`` with its target ``distance`` bytes away; None if that is too far."""
        value = distance // self.unit
        if not -(1 << self.width - 1) <= value < 1 << self.width - 1:
            return None
        mask = (1 << self.width) - 1
        return word & ~(mask << self.low) | (value & mask) << self.low


_DISTANCES = tuple((InstructionForm(mask, value), Distance(low, width))
                   for mask, value, low, width in RELATIVE)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _AdrDistance(Distance):
    """ADR's, whose two low bits are apart from the others."""

    def get(self, word: int) -> int:
        value = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
        return value - (1 << 21) if value >> 20 else value

    def put(self, word: int, distance: int) -> int | None:
        if not -(1 << 20) <= distance < 1 << 20:
            return None
        value = distance & (1 << 21) - 1
        return word & ~ADR_FIELD | (value >> 2) << 5 | (value & 3) << 29


def distance_of(word: int) -> Distance | None:
    """Where ``word`` has the distance to its target, None if it has none (or counts in pages)."""
    if ADR.holds(word):
        return _AdrDistance(5, 21, 1)
    return next((distance for form, distance in _DISTANCES if form.holds(word)), None)


def valid_bitmask(word: int) -> bool:
    """Whether a logical immediate is one: an element that is not all ones (C4.1.93.4)."""
    wide, n = word >> 31, word >> 22 & 1
    if n and not wide:
        return False
    size = (n << 6 | ~IMMS.get(word) & 0x3F).bit_length() - 1
    if size < 1:
        return False
    ones = (1 << size) - 1
    return IMMS.get(word) & ones != ones
