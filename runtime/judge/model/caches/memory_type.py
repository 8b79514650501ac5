"""How an access of a trace goes through the caches. Source: ARM DDI 0487, MAIR_ELx (D24.2),
D8.2.12.1 (the MMU off), SCTLR_ELx.C (D7.5.5).
"""

from __future__ import annotations

from enum import Enum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from relokit.runtime.record.given import Extent
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.trace import ATTRIBUTE_MAIR, ATTRIBUTE_MMU

ANYWHERE = Unknown("nobody has said where RAM is")


class MemoryType(Enum):
    """What of a memory type counts here."""

    DEVICE = "Device"
    AROUND = "Normal Non-cacheable"
    THROUGH = "Normal Write-Through"
    WRITE_BACK = "Normal Write-Back"

    @property
    def cacheable(self) -> bool:
        """Whether a load may be answered by a cache."""
        return self in (MemoryType.THROUGH, MemoryType.WRITE_BACK)


@cache
def memory_type(attributes: int, cache_on: bool) -> MemoryType:
    """By ``attributes`` of a record, ``cache_on`` being SCTLR_ELx.C."""
    if not attributes & ATTRIBUTE_MMU:
        return MemoryType.DEVICE
    outer, inner = divmod(attributes & ATTRIBUTE_MAIR, 16)
    if outer == 0:
        return MemoryType.DEVICE
    if not cache_on or outer == 0b0100 or inner == 0b0100:
        return MemoryType.AROUND
    # 0b00RW and 0b10RW are Write-Through, 0b01RW and 0b11RW Write-Back.
    if outer & 0b0100 and inner & 0b0100:
        return MemoryType.WRITE_BACK
    return MemoryType.THROUGH


def in_memory(pas: NDArray[np.uint64], banks: tuple[Extent, ...] | Unknown) -> NDArray[np.bool_]:
    """Which of ``pas`` are RAM: the rest are devices, which no cache has. All, if nobody knows."""
    if isinstance(banks, Unknown):
        return np.ones(len(pas), np.bool_)
    found = np.zeros(len(pas), np.bool_)
    for base, size in banks:
        found |= pas - np.uint64(base) < np.uint64(size)
    return found
