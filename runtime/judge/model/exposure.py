"""Where an exception could be taken and its vectors are of no use. Source: ARM DDI 0487, D1.3."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import SPSR_DAIF, VECTOR_TABLE_SIZE
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.trace import Records, Trace, TraceFlag, TraceKind, are_of

MAX_PLACES = 1 << 6
"""Places of vectors that are looked at while something is unmasked; a move has one or two."""
_CHANGES = (TraceKind.MSR, TraceKind.MSR_FIELD, TraceKind.ERET, TraceKind.EXCEPTION)
"""What masks, unmasks, or changes where vectors are."""


class Loss(Enum):
    """Why vectors are of no use; the value is how that is shown."""

    UNMAPPED = "is not mapped"
    NO_CODE = "is nothing that can be fetched: no RAM, or execute-never"
    EMPTY = "holds no instruction"
    OVERWRITTEN = "has been overwritten"


@dataclass(frozen=True, slots=True)
class Exposure:
    """Exceptions may be taken from record ``begin`` on, and from ``lost`` on the vectors are lost.

    All are numbers of records: ``begin`` and ``state``, where the vectors are, of kind VECTORS,
    ``lost`` the latter or a store.
    """

    begin: int
    state: int
    lost: int
    loss: Loss


def exposures(trace: Trace) -> Iterator[Exposure]:
    """One for each instruction that unmasks something while the vectors are lost, or get so.

    Raises UnknownFactError for a trace without VECTORS, and behind MAX_PLACES of them.
    """
    records = trace.records
    numbers = np.flatnonzero(trace.kinds == TraceKind.VECTORS)
    if not len(numbers):
        raise UnknownFactError("the trace does not tell where vectors are")
    ends = [*numbers[1:].tolist(), len(records)]
    overwriting = _Overwriting(records)
    begin: int | None = None
    interrupted: int | None = None
    told: set[int] = set()
    for number, end, by in zip(numbers.tolist(), ends, _changed_by(records, numbers), strict=True):
        row = records[number]
        if int(row["encoding"]) & SPSR_DAIF == SPSR_DAIF:
            if by == TraceKind.EXCEPTION:
                interrupted = begin
            begin = None
            continue
        if begin is None:
            # A return goes on where the exception came.
            begin = number if by != TraceKind.ERET or interrupted is None else interrupted
        pc = int(records["pc"][begin])
        if pc in told:
            continue
        lost, loss = number, _loss(row)
        if loss is None:
            store = overwriting.first(int(row["pa"]), end)
            if store is None:
                continue
            lost, loss = store, Loss.OVERWRITTEN
        told.add(pc)
        yield Exposure(begin, number, lost, loss)


def _changed_by(records: Records, numbers: npt.NDArray[np.intp]) -> list[int]:
    """The kind of the last of _CHANGES before each record of ``numbers``; 0 if there is none."""
    changes = np.flatnonzero(are_of(records, _CHANGES))
    kinds = np.append(records["kind"][changes], np.uint8(0))
    found: list[int] = kinds[np.searchsorted(changes, numbers) - 1].tolist()
    return found


def _loss(row: Any) -> Loss | None:
    flags = int(row["flags"])
    if flags & TraceFlag.NO_PA:
        return Loss.UNMAPPED
    if not flags & TraceFlag.EXECUTABLE:
        return Loss.NO_CODE
    # UDF: its upper half is 0 (C6.2).
    return None if int(row["value"]) >> 16 else Loss.EMPTY


class _Overwriting:
    """Which stores hit vectors; for each place every store is looked at once."""

    def __init__(self, records: Records) -> None:
        known = records["flags"] & TraceFlag.NO_PA == 0
        self._numbers = np.flatnonzero((records["kind"] == TraceKind.STORE) & known)
        self._starts = records["pa"][self._numbers]
        self._ends = self._starts + records["length"][self._numbers]
        self._looked: dict[int, int] = {}
        self._hit: dict[int, int] = {}

    def first(self, pa: int, end: int) -> int | None:
        """The number of the first record before ``end`` that stores to the vectors at ``pa``.

        For one ``pa``, ``end`` never gets less.
        """
        if pa in self._hit:
            return self._hit[pa]
        begin = self._looked.get(pa, 0)
        if len(self._looked) == MAX_PLACES and not begin:
            raise UnknownFactError(f"vectors are at more than {MAX_PLACES} places")
        last = self._looked[pa] = int(np.searchsorted(self._numbers, end))
        start = pa & -VECTOR_TABLE_SIZE
        new = slice(begin, last)
        hits = (self._starts[new] < start + VECTOR_TABLE_SIZE) & (self._ends[new] > start)
        if not hits.any():
            return None
        self._hit[pa] = int(self._numbers[begin + int(hits.argmax())])
        return self._hit[pa]
