"""Trace: what a CPU did while it was recorded, as ranges in program order.

A record is a coalesced range of loads, stores, fetches or maintenance, a translation that the
engine's TLB was filled with, or one event: a barrier, a register write, an exception. What each
field is for which kind, and what the order says: docs/trace.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, IntFlag
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.nouns import dataclass

MAX_TRACE_RECORDS = 1 << 24
"""What a trace may hold; one of 2 GiB moved has 4 million records."""


class TraceKind(IntEnum):
    """What a record is of."""

    LOAD = 1
    STORE = 2
    FETCH = 3
    FILL = 4
    DC = 5
    IC = 6
    TLBI = 7
    AT = 8
    SYS = 9
    MSR = 10
    MSR_FIELD = 11
    MRS = 12
    DSB = 13
    DMB = 14
    ISB = 15
    SB = 16
    SVC = 17
    HVC = 18
    SMC = 19
    ERET = 20
    EXCEPTION = 21
    UNKNOWN = 22
    VECTORS = 23


class TraceFlag(IntFlag):
    """How an access was made, or what a fill allows.

    UNALIGNED: not to the size of its elements (registers, of a pair). NO_PA: nothing translates it.
    ZERO_BLOCK: DC ZVA. READABLE, WRITABLE and EXECUTABLE are of fills, the last of vectors, too.
    """

    EXCLUSIVE = 1 << 3
    ACQUIRE = 1 << 4
    RELEASE = 1 << 5
    UNPRIVILEGED = 1 << 6
    ATOMIC = 1 << 7
    ZERO_BLOCK = 1 << 8
    UNALIGNED = 1 << 9
    NO_PA = 1 << 10
    READABLE = 1 << 11
    WRITABLE = 1 << 12
    EXECUTABLE = 1 << 13


ATTRIBUTE_MAIR = 0xFF
"""Bits of ``attributes``: the byte of MAIR_ELx that the translation chose."""
ATTRIBUTE_SHAREABILITY = 8
"""The lowest of two bits of ``attributes``: shareability, as descriptors have it."""
ATTRIBUTE_MMU = 1 << 10
"""The bit of ``attributes`` that says that the MMU was on; else the others are 0."""
NO_PA = MASK64
"""The PA of a record with TraceFlag.NO_PA."""

RECORD = np.dtype(
    [
        ("pc", "<u8"),
        ("va", "<u8"),
        ("pa", "<u8"),
        ("length", "<u8"),
        ("value", "<u8"),
        ("before", "<u8"),
        ("count", "<u4"),
        ("stride", "<u2"),
        ("size", "<u2"),
        ("encoding", "<u2"),
        ("attributes", "<u2"),
        ("flags", "<u2"),
        ("kind", "u1"),
        ("el", "u1"),
    ]
)
"""A record, as native code writes it (recorder.h). Lengths and sizes are bytes."""

Records = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Trace:
    """``records`` is a read-only array of RECORD, in the order of docs/trace.md.

    ``start`` is the CPU where the recording began: system registers by architectural name, PC and
    PSTATE, as far as it has them. ``instructions`` were begun in all. ``full_at`` is None, or the
    room for records ended: what came after that many instructions is not in it, or not all.
    """

    records: Records
    start: Mapping[str, int]
    instructions: int
    full_at: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and (
            self.start == other.start
            and self.instructions == other.instructions
            and self.full_at == other.full_at
            and np.array_equal(self.records, other.records)
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """The kind of each record, side by side in memory: every question begins with it."""
        return np.ascontiguousarray(self.records["kind"])

    @cached_property
    def unknown(self) -> int:
        """How many instructions may have accessed memory without being known."""
        return int((self.kinds == TraceKind.UNKNOWN).sum())

    def are(self, kinds: Iterable[int]) -> npt.NDArray[np.bool_]:
        """Which records are of ``kinds``."""
        return _are(self.kinds, kinds)

    def of(self, *kinds: TraceKind) -> Records:
        """The records of ``kinds``, in order."""
        return self.records[self.are(kinds)]


def are_of(records: Records, kinds: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Which of ``records`` are of ``kinds``; of a whole trace, Trace.are."""
    return _are(records["kind"], kinds)


def _are(column: npt.NDArray[np.uint8], kinds: Iterable[int]) -> npt.NDArray[np.bool_]:
    """A hundredth of what numpy's ``isin`` takes for a few, where they are side by side."""
    wanted = np.zeros(len(column), np.bool_)
    column = np.ascontiguousarray(column)
    for kind in kinds:
        wanted |= column == int(kind)
    return wanted
