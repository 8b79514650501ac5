"""Floating-point immediates, as GNU as reads them and Keystone takes them."""

from __future__ import annotations

import re
import struct
from fractions import Fraction

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions.operands import register

FLOATING = frozenset(("fmov", "fcmp", "fcmpe", "fcmeq", "fcmge", "fcmgt", "fcmle", "fcmlt"))
"""Instructions that take one: any of the 256 that fmov has, or zero to compare with."""

_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?", re.ASCII
)
_PATTERN = re.compile(r"0[xX][0-9a-fA-F]{1,16}", re.ASCII)
_SINGLE, _DOUBLE = (32, "<I", "<f"), (64, "<Q", "<d")


def immediate(mnemonic: str, destination: str, text: str) -> str | None:
    """The operand as Keystone is to be told it; None if it is something else.

    A hexadecimal number with fmov is the value's bit pattern, as in GNU as. Raises AssemblyError
    for a value that the instruction has no encoding of (ARM DDI 0487, C2.2.3, table C2-1).
    """
    number = text[1:].strip() if text[0] == "#" else text
    if mnemonic != "fmov":
        if not _DECIMAL.fullmatch(number):
            return None
        if _value(number) or number[0] == "-":
            raise AssemblyError(f"{mnemonic} compares with #0.0, not with {text}")
        return "#0.0"
    if _PATTERN.fullmatch(number):
        value = _of_pattern(int(number, 16), destination)
    elif _DECIMAL.fullmatch(number):
        value = _value(number)
    elif register(text) is not None:
        return None
    else:
        value = None
    if value is None or not _encodable(value):
        raise AssemblyError(
            f"fmov has no immediate {text}",
            hint="it has n/16 times a power of two: n from 16 to 31, the power from -3 to 4",
        )
    return f"#{float(value)!r}"


def _value(number: str) -> Fraction:
    # GNU as takes "1." and ".5"; Fraction does not take the first.
    mantissa, _, exponent = number.lower().partition("e")
    return Fraction(mantissa.rstrip(".") if mantissa[-1] == "." else mantissa) * Fraction(
        10
    ) ** int(exponent or 0)


def _of_pattern(pattern: int, destination: str) -> Fraction | None:
    """The value with these bits in a register like ``destination``; None if it is not finite."""
    name = register(destination) or ""
    element = name[0] if name[:1] != "v" else name.rpartition(".")[2].lstrip("0123456789")[:1]
    width, integer, floating = {"s": _SINGLE, "d": _DOUBLE}.get(element, (0, "", ""))
    if pattern >> width:
        return None
    (value,) = struct.unpack(floating, struct.pack(integer, pattern))
    return Fraction(value) if abs(value) < 32 else None


def _encodable(value: Fraction) -> bool:
    """Whether it is n/16 times 2^r, n from 16 to 31 and r from -3 to 4."""
    return any(
        (scaled := abs(value) * 16 / Fraction(2) ** power).denominator == 1 and 16 <= scaled <= 31
        for power in range(-3, 5)
    )
