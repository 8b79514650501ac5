"""Relocations: what each type computes, where it goes, and what it refuses.

Source: AAELF64, "Relocation types" (operation, overflow check, field) and ARM DDI 0487, C4.1
(the immediate fields).
"""

from __future__ import annotations

from enum import Enum

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import NOP, signed_move


class RelocationFormula(Enum):
    """What is computed from S (symbol), A (addend) and P (place)."""

    ABSOLUTE = "S + A"
    RELATIVE = "S + A - P"
    PAGE = "Page(S + A) - Page(P)"
    LOW12 = "(S + A) & 0xfff"


@dataclass(frozen=True, slots=True)
class RelocationRule:
    """One type. The result must lie in low <= X < high and be a multiple of ``multiple``.

    Data fields are ``width`` bytes, overwritten. Instruction fields take X >> ``shift`` in
    ``bits`` bits from ``lsb``; ``split`` marks ADR's immlo:immhi, ``inverts`` a MOVZ that becomes a
    MOVN of ~X where X is negative.
    """

    operation: RelocationFormula
    width: int = 4
    low: int | None = None
    high: int | None = None
    multiple: int = 1
    shift: int = 0
    lsb: int = 0
    bits: int = 0
    split: bool = False
    inverts: bool = False


def _data(
    operation: RelocationFormula, width: int, low: int | None, high: int | None
) -> RelocationRule:
    return RelocationRule(operation, width, low, high)


def _branch(bits: int, lsb: int) -> RelocationRule:
    reach = 1 << (bits + 1)
    return RelocationRule(RelocationFormula.RELATIVE, 4, -reach, reach, 4, 2, lsb, bits)


def _move(group: int, checked: bool) -> RelocationRule:
    high = 1 << 16 * (group + 1) if checked else None
    return RelocationRule(
        RelocationFormula.ABSOLUTE, 4, 0 if checked else None, high, 1, 16 * group, 5, 16
    )


def _signed_move(group: int) -> RelocationRule:
    reach = 1 << 16 * (group + 1)
    return RelocationRule(
        RelocationFormula.ABSOLUTE, 4, -reach, reach, 1, 16 * group, 5, 16, inverts=True
    )


def _load_store(scale: int) -> RelocationRule:
    return RelocationRule(RelocationFormula.LOW12, 4, None, None, 1 << scale, scale, 10, 12 - scale)


RULES: dict[int, RelocationRule] = {
    R.ABS64: _data(RelocationFormula.ABSOLUTE, 8, None, None),
    R.ABS32: _data(RelocationFormula.ABSOLUTE, 4, -(1 << 31), 1 << 32),
    R.ABS16: _data(RelocationFormula.ABSOLUTE, 2, -(1 << 15), 1 << 16),
    R.PREL64: _data(RelocationFormula.RELATIVE, 8, None, None),
    R.PREL32: _data(RelocationFormula.RELATIVE, 4, -(1 << 31), 1 << 31),
    R.PREL16: _data(RelocationFormula.RELATIVE, 2, -(1 << 15), 1 << 15),
    R.MOVW_UABS_G0: _move(0, True),
    R.MOVW_UABS_G0_NC: _move(0, False),
    R.MOVW_UABS_G1: _move(1, True),
    R.MOVW_UABS_G1_NC: _move(1, False),
    R.MOVW_UABS_G2: _move(2, True),
    R.MOVW_UABS_G2_NC: _move(2, False),
    R.MOVW_UABS_G3: _move(3, False),
    R.MOVW_SABS_G0: _signed_move(0),
    R.MOVW_SABS_G1: _signed_move(1),
    R.MOVW_SABS_G2: _signed_move(2),
    R.LD_PREL_LO19: _branch(19, 5),
    R.ADR_PREL_LO21: RelocationRule(
        RelocationFormula.RELATIVE, 4, -(1 << 20), 1 << 20, bits=21, split=True
    ),
    R.ADR_PREL_PG_HI21: RelocationRule(
        RelocationFormula.PAGE, 4, -(1 << 32), 1 << 32, shift=12, bits=21, split=True
    ),
    R.ADR_PREL_PG_HI21_NC: RelocationRule(RelocationFormula.PAGE, 4, shift=12, bits=21, split=True),
    R.ADD_ABS_LO12_NC: RelocationRule(RelocationFormula.LOW12, lsb=10, bits=12),
    R.LDST8_ABS_LO12_NC: _load_store(0),
    R.LDST16_ABS_LO12_NC: _load_store(1),
    R.LDST32_ABS_LO12_NC: _load_store(2),
    R.LDST64_ABS_LO12_NC: _load_store(3),
    R.LDST128_ABS_LO12_NC: _load_store(4),
    R.TSTBR14: _branch(14, 5),
    R.CONDBR19: _branch(19, 5),
    R.JUMP26: _branch(26, 0),
    R.CALL26: _branch(26, 0),
}


class RelocationError(Exception):
    """A relocation that cannot be carried out; the message names type and reason."""


def type_name(number: int) -> str:
    """``R_AARCH64_CALL26`` for 283; the number for a type that is not known."""
    try:
        return f"R_AARCH64_{R(number).name}"
    except ValueError:
        return f"R_AARCH64 type {number}"


def relocate(
    data: bytearray, offset: int, number: int, symbol: int | None, addend: int, place: int
) -> None:
    """Fill the field at ``data[offset:]``, which will be at VA ``place``.

    ``symbol`` is a VA, or None for a weak symbol that nobody defines. Raises RelocationError.
    """
    rule = RULES.get(number)
    if rule is None:
        if number == R.NONE:
            return
        raise RelocationError(f"{type_name(number)} is not supported")
    width = rule.width
    if offset < 0 or offset + width > len(data):
        raise RelocationError(f"{type_name(number)} lies outside its section")
    operation = rule.operation
    if symbol is None:
        # AAELF64, "Weak references": zero, or the place itself; a branch becomes a no-op.
        if number in (R.CALL26, R.JUMP26):
            data[offset : offset + 4] = NOP.to_bytes(4, "little")
            return
        symbol = place - addend if operation is RelocationFormula.RELATIVE and rule.bits else 0
        if operation is RelocationFormula.PAGE:
            symbol, addend = place, 0
    value = symbol + addend
    if operation is RelocationFormula.RELATIVE:
        value -= place
    elif operation is RelocationFormula.PAGE:
        value = (value & ~0xFFF) - (place & ~0xFFF)
    elif operation is RelocationFormula.LOW12:
        value &= 0xFFF
    if rule.low != 0:
        # A 64-bit result, as the processor would compute it: signed.
        value = ((value + (1 << 63)) & MASK64) - (1 << 63)
    else:
        value &= MASK64
    if rule.low is not None and not rule.low <= value < (rule.high or 0):
        raise RelocationError(
            f"{type_name(number)} out of range: {value:#x} is not within "
            f"{rule.low:#x}..{rule.high or 0:#x}"
        )
    if value & (rule.multiple - 1):
        raise RelocationError(
            f"{type_name(number)} misaligned: {value:#x} is not a multiple of {rule.multiple}"
        )
    if not rule.bits:
        data[offset : offset + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        return
    word = int.from_bytes(data[offset : offset + 4], "little")
    if rule.inverts:
        word, value = signed_move(word, value)
    field = (value >> rule.shift) & ((1 << rule.bits) - 1)
    if rule.split:
        word = word & ~(0x3 << 29 | 0x7FFFF << 5) | (field & 3) << 29 | (field >> 2) << 5
    else:
        word = word & ~(((1 << rule.bits) - 1) << rule.lsb) | field << rule.lsb
    data[offset : offset + 4] = word.to_bytes(4, "little")
