"""Numbers as words of so many bits, and rounded."""

from __future__ import annotations

MASK64 = (1 << 64) - 1


def signed(value: int, bits: int = 64) -> int:
    """The low ``bits`` of ``value`` as a two's complement number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def round_up(value: int, step: int) -> int:
    """The least multiple of ``step`` that is not below ``value``."""
    return -(-value // step) * step
