"""What Keystone encodes wrongly, or refuses though GNU as takes it: refused or spelled here."""

from __future__ import annotations

import re
from itertools import pairwise

from relokit.codegen.base.bits import signed
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions.arithmetic import Expr

_OPPOSITE = {"add": "sub", "adds": "subs", "cmp": "cmn"}
_OPPOSITE |= {other: name for name, other in _OPPOSITE.items()}
_EXTENDING = frozenset(("add", "adds", "sub", "subs", "cmp", "cmn"))
_NO_IMMEDIATE = frozenset(("orn", "eon", "bics"))
_NARROW_SOURCE = frozenset(("sxtb", "sxth", "sxtw", "uxtb", "uxth", "uxtw"))
_STRUCTURES = re.compile(r"(?:ld|st)[1-4]r?")
_WIDEST_SHIFT = 63
# Comparisons of vectors that are others with their operands in the other order.
_REVERSED = {
    "cmle": "cmge",
    "cmlt": "cmgt",
    "cmls": "cmhs",
    "cmlo": "cmhi",
    "fcmle": "fcmge",
    "fcmlt": "fcmgt",
    "facle": "facge",
    "faclt": "facgt",
}
_RANGE = re.compile(r"\{\s*v([0-9]+)\.\w+\s*-\s*v([0-9]+)")


def checked(mnemonic: str, operands: list[list[str | Expr]]) -> str:
    """Refuse what Keystone encodes wrongly or GNU as refuses; spell what Keystone refuses."""
    names = [str(operand[0]) if len(operand) == 1 else "" for operand in operands]
    if mnemonic in _NARROW_SOURCE and len(names) > 1 and names[1][:1] == "x":
        raise AssemblyError(f"{mnemonic} takes a w register, not {names[1]}")
    if mnemonic == "uxtw" and len(names) == 2 and names[0][:1] == "x":
        # The upper half is zero after any write of a w register: GNU as makes a move of it.
        operands[0][0] = "wzr" if names[0] == "xzr" else "w" + names[0][1:]
        return "mov"
    _refuse_out_of_range(mnemonic, names, operands)
    for index, operand in enumerate(operands):
        if (
            mnemonic in _OPPOSITE
            and operand[0] == "lsl"
            and names[index - 1][:1] == "w"
            and any(name[:1] == "x" or name == "sp" for name in names[: index - 1])
        ):
            # Keystone makes UXTX of it: another register width than the one written.
            raise AssemblyError("lsl of a w register", hint="uxtw #n widens it")
        if (
            mnemonic in _EXTENDING
            and index
            and operand[0] in _NARROW_SOURCE
            and names[0][:1] in "xs"
            and names[index - 1][:1] == "x"
        ):
            # GNU as takes the wide name of a register of which the narrow part is read.
            operands[index - 1][0] = "w" + names[index - 1][1:]
        if len(operand) != 2 or operand[0] != "#" or not isinstance(operand[1], int):
            continue
        value = operand[1]
        if value >> 63 == 1:
            operand[1] = value = signed(value)
        if names[0][:1] == "w" and not -(1 << 31) <= value < 1 << 32:
            raise AssemblyError(f"{value} does not fit in 32 bits")
        if mnemonic in _NO_IMMEDIATE:
            raise AssemblyError(f"{mnemonic} takes no immediate")
        if mnemonic in _OPPOSITE and value < 0 and index:
            operand[1] = -value
            return _OPPOSITE[mnemonic]
    return mnemonic


def _refuse_out_of_range(mnemonic: str, names: list[str], operands: list[list[str | Expr]]) -> None:
    """What Keystone cuts to the bits there are, or GNU as has no name for."""
    last = operands[-1] if operands else []
    if mnemonic in _REVERSED and len(operands) == 3 and not str(last[0]).startswith("#"):
        raise AssemblyError(
            f"{mnemonic} compares with zero only",
            hint=f"{_REVERSED[mnemonic]} with the last two operands exchanged",
        )
    for name in names:
        ends = _RANGE.match(name)
        if ends is not None and int(ends[2]) < int(ends[1]):
            raise AssemblyError(f"the list {name} goes past v31")
    for operand in operands:
        for before, value in pairwise(operand):
            if before == " #" and isinstance(value, int) and not 0 <= value <= _WIDEST_SHIFT:
                raise AssemblyError(f"a shift by {value} is outside 0 to {_WIDEST_SHIFT}")
    if _STRUCTURES.fullmatch(mnemonic) and names[-1:] == ["xzr"] and operands[-2][0] == "[":
        raise AssemblyError("xzr cannot be added to an address")
    if mnemonic == "ext" and len(operands) == 4 and last[0] == "#" and isinstance(last[1], int):
        limit = 15 if names[0].endswith(".16b") else 7
        if not 0 <= last[1] <= limit:
            raise AssemblyError(f"ext from byte {last[1]} is outside 0 to {limit}")
