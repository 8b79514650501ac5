"""The fields of an instruction that a symbol fills: place, range, relocation.

Source: ARM DDI 0487, C6.2 (encodings) and AAELF64, "Static AArch64 relocations".
"""

from __future__ import annotations

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.codegen.base.bits import MASK64, signed
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import signed_move


@dataclass(frozen=True, slots=True)
class Field:
    """A PC-relative field: ``bits`` wide from bit ``low``, counting units of ``1 << scale``."""

    what: str
    relocation: R
    bits: int
    low: int
    scale: int

    def fill(self, word: int, distance: int) -> int:
        """``word`` (field zero) with the byte ``distance``; raises AssemblyError if it cannot."""
        if distance & ((1 << self.scale) - 1):
            raise AssemblyError(f"{self.what} at a distance of {distance} bytes is not aligned")
        count = distance >> self.scale
        if not -(1 << (self.bits - 1)) <= count < 1 << (self.bits - 1):
            reach = 1 << (self.bits - 1 + self.scale)
            raise AssemblyError(
                f"{self.what} {distance:+} bytes away is out of range (it reaches +-{reach} bytes)"
            )
        count &= (1 << self.bits) - 1
        if self.relocation is R.ADR_PREL_LO21:
            return word | (count & 3) << 29 | (count >> 2) << 5
        return word | count << self.low


BRANCH = Field("branch target", R.JUMP26, 26, 0, 2)
CALL = Field("call target", R.CALL26, 26, 0, 2)
CONDITIONAL = Field("branch target", R.CONDBR19, 19, 5, 2)
TEST = Field("branch target", R.TSTBR14, 14, 5, 2)
LITERAL = Field("literal", R.LD_PREL_LO19, 19, 5, 2)
ADDRESS = Field("address", R.ADR_PREL_LO21, 21, 5, 0)


@dataclass(frozen=True, slots=True)
class AbsoluteField:
    """A field filled from an absolute address, by the linker unless the address is a number.

    ``operand`` is what the assembler is given in its stead. ``group`` is the 16-bit group of a
    MOVW relocation, whose range is checked if ``checked``; LO12 has none. A ``signed`` one makes a
    MOVN of the instruction for a negative value.
    """

    operator: str
    relocation: R
    operand: str = "#0"
    group: int = -1
    checked: bool = False
    signed: bool = False


LO12 = AbsoluteField("lo12", R.ADD_ABS_LO12_NC)
PAGE = AbsoluteField("pg_hi21", R.ADR_PREL_PG_HI21)

OPERATORS = {
    field.operator: field
    for field in (
        LO12,
        PAGE,
        AbsoluteField("pg_hi21_nc", R.ADR_PREL_PG_HI21_NC),
        AbsoluteField("abs_g0", R.MOVW_UABS_G0, "#0", 0, True),
        AbsoluteField("abs_g0_nc", R.MOVW_UABS_G0_NC, "#0", 0),
        AbsoluteField("abs_g1", R.MOVW_UABS_G1, "#0, lsl #16", 1, True),
        AbsoluteField("abs_g1_nc", R.MOVW_UABS_G1_NC, "#0, lsl #16", 1),
        AbsoluteField("abs_g2", R.MOVW_UABS_G2, "#0, lsl #32", 2, True),
        AbsoluteField("abs_g2_nc", R.MOVW_UABS_G2_NC, "#0, lsl #32", 2),
        AbsoluteField("abs_g3", R.MOVW_UABS_G3, "#0, lsl #48", 3),
        AbsoluteField("abs_g0_s", R.MOVW_SABS_G0, "#0", 0, True, True),
        AbsoluteField("abs_g1_s", R.MOVW_SABS_G1, "#0, lsl #16", 1, True, True),
        AbsoluteField("abs_g2_s", R.MOVW_SABS_G2, "#0, lsl #32", 2, True, True),
    )
}
"""``:operator:`` prefixes, as GNU as spells them."""

_LDST_BY_SIZE = (
    R.LDST8_ABS_LO12_NC,
    R.LDST16_ABS_LO12_NC,
    R.LDST32_ABS_LO12_NC,
    R.LDST64_ABS_LO12_NC,
)


def lo12_relocation(word: int) -> R:
    """The relocation ``:lo12:`` means in the instruction ``word`` (its field is zero)."""
    if word & 0x7F800000 == 0x11000000:  # ADD (immediate)
        return R.ADD_ABS_LO12_NC
    if word & 0x3B000000 == 0x39000000:  # load/store, unsigned offset
        size = word >> 30
        if word & 0x04800000 == 0x04800000 and size == 0:  # 128-bit SIMD&FP register
            return R.LDST128_ABS_LO12_NC
        return _LDST_BY_SIZE[size]
    raise AssemblyError(
        ":lo12: is not for this instruction", hint="use it in add, or in a load or store [xN, ...]"
    )


def fill_absolute(field: AbsoluteField, word: int, value: int) -> int:
    """``word`` with ``field`` of the number ``value``; raises AssemblyError out of range."""
    value &= MASK64
    if field.signed:
        number = signed(value)
        reach = 1 << 16 * (field.group + 1) - 1
        if not -reach <= number < reach:
            raise AssemblyError(f"{number} does not fit in :{field.operator}:")
        word, number = signed_move(word, number)
        return word | (number >> 16 * field.group & 0xFFFF) << 5
    if field.group >= 0:
        part = value >> (16 * field.group)
        if field.checked and part > 0xFFFF:
            raise AssemblyError(f"{value:#x} does not fit in :{field.operator}:")
        return word | (part & 0xFFFF) << 5
    if field is LO12:
        scale = {
            R.ADD_ABS_LO12_NC: 0,
            R.LDST8_ABS_LO12_NC: 0,
            R.LDST16_ABS_LO12_NC: 1,
            R.LDST32_ABS_LO12_NC: 2,
            R.LDST64_ABS_LO12_NC: 3,
            R.LDST128_ABS_LO12_NC: 4,
        }[lo12_relocation(word)]
        low = value & 0xFFF
        if low & ((1 << scale) - 1):
            raise AssemblyError(f":lo12: of {value:#x} is not aligned to {1 << scale} bytes")
        return word | (low >> scale) << 10
    raise AssemblyError(f":{field.operator}: needs a symbol, not a number")
