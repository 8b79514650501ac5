"""What a trace does with translations that may be held: uses of old ones, stores to tables.

Source: ARM DDI 0487, D8.17.6 (completion), D8.2.6.1 (visibility of tables), D8.16 (RRVJDB).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.model.synchronising import DSB_FULL, DSB_TYPE
from relokit.runtime.judge.model.tlb.tlb_contents import Attempt, Held, Tlb, Why, reason
from relokit.runtime.judge.model.tlb.translations import leaf_at, without
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.prehistory import Range
from relokit.runtime.record.tables import Leaves, Tables
from relokit.runtime.record.trace import ATTRIBUTE_MMU, TraceFlag, TraceKind, are_of
from relokit.runtime.record.views import NEVER

MAX_LOOKED_AT = 1 << 16
"""Accesses that are looked at one by one: only where something old may be held at all."""
MAX_STORES = 1 << 10
"""Stores to one set of tables that are looked at, the first ones."""
_DSB_STORES = 0b10
_TRANSLATED = (TraceKind.LOAD, TraceKind.STORE, TraceKind.FETCH, TraceKind.DC, TraceKind.IC)
_HALF = np.uint64(1 << 55)
Numbers = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class StaleUse:
    """Record ``number`` is translated while ``held`` says something else than what is in force.

    ``leaves`` are what it may be translated by, ``now`` what it should be: None is a fault.
    """

    held: Held
    number: int
    va: int
    leaves: Leaves
    now: Leaves | None
    why: Why
    attempt: Attempt | None


class Stored(Enum):
    """What a store to tables does."""

    VALID = "it changes valid entries"
    EMPTY = "the table has to stay empty"
    UNSEEN = "no walk is certain to see it"


@dataclass(frozen=True, slots=True)
class TableStore:
    """Record ``number``, the first that does, stores to tables of ``held``, at PA ``pa``."""

    held: Held
    number: int
    pa: int
    what: Stored


def uses(tlb: Tlb) -> Iterator[StaleUse]:
    """The first use of each set of old translations that may go by them; no clash tells it."""
    told = {clash.old for clash in tlb.clashes}
    for held in tlb.held:
        if held.tables is None or not held.tables.leaves or held in told:
            continue
        relied_on = tlb.views.next_step(held.gone) if held.gone != NEVER else NEVER
        for number in _accesses(tlb, held, relied_on):
            found = _use(tlb, held, held.tables, number)
            if found is not None:
                yield found
                break


def _accesses(tlb: Tlb, held: Held, end: int) -> list[int]:
    """Records from moment ``held.end`` to ``end`` that are translated by its regime and range."""
    records = tlb.trace.records[held.end : min(end, len(tlb.trace.records))]
    # With the MMU off nothing is translated, and that may be most of a trace.
    if not len(records) or not tlb.is_on_between(held.view.level, held.end, end):
        return []
    chosen = are_of(records, _TRANSLATED)
    chosen &= (records["attributes"] & ATTRIBUTE_MMU != 0) & (records["length"] > 0)
    chosen &= (records["el"] == 2) == (held.view.level == 2)
    chosen &= (records["va"] & _HALF != 0) == held.view.upper
    found: list[int] = (np.flatnonzero(chosen) + held.end).tolist()
    if len(found) > MAX_LOOKED_AT:
        tlb.unknown.append(Unknown(f"{len(found):,} accesses while old translations may be held"))
    return found[:MAX_LOOKED_AT]


def _use(tlb: Tlb, held: Held, tables: Tables, number: int) -> StaleUse | None:
    record = tlb.trace.records[number]
    va, end = int(record["va"]), int(record["va"]) + int(record["length"])
    now = tlb.in_force(held.view, number)
    first = bisect_right(tables.leaves, va, key=lambda leaves: leaves.end)
    for leaves in takewhile(lambda leaves: leaves.va < end, tables.leaves[first:]):
        for start, stop in without(max(va, leaves.va), min(end, leaves.end), held.holes_at(number)):
            at = start
            while at < stop:
                current = _current(now, at)
                if current is None or not _same(leaves, current, at):
                    why, attempt = reason(held, number)
                    if number >= held.gone:
                        why = Why.UNSYNCHRONISED
                    return StaleUse(held, number, at, leaves, current, why, attempt)
                at = current.end
    return None


def _current(now: list[Held], va: int) -> Leaves | None:
    """What is in force for ``va``, the latest if more than one value may be."""
    if not now or now[-1].tables is None:
        return None
    return leaf_at(now[-1].tables.leaves, va)


def _same(one: Leaves, other: Leaves, va: int) -> bool:
    same_pa = one.pa + va - one.va == other.pa + va - other.va
    return same_pa and (one.bits, one.level) == (other.bits, other.level)


def table_stores(tlb: Tlb) -> Iterator[TableStore]:
    """Stores to tables that may be walked, or held, the first to each set of tables."""
    records = tlb.trace.records
    stores = np.flatnonzero(
        (records["kind"] == TraceKind.STORE) & (records["flags"] & int(TraceFlag.NO_PA) == 0)
    )
    if not len(stores):
        return
    first = records["pa"][stores]
    end = first + records["length"][stores]
    for held in tlb.held:
        if held.tables is not None:
            hit = _touches(held.tables.pages, first, end)
            if hit.any():
                found = _table_store(tlb, held, held.tables, stores[hit])
                if found is not None:
                    yield found


def _touches(ranges: Sequence[Range], first: Numbers, end: Numbers) -> Numbers:
    """Which of the stores from PA ``first`` to ``end`` touch one of ``ranges``, which ascend."""
    starts, stops = np.array(ranges, np.uint64).reshape(-1, 2).T
    at = np.searchsorted(starts, end)
    hit: Numbers = (at > 0) & (stops[np.maximum(at, 1) - 1] > first) if len(ranges) else at > 0
    return hit


def _table_store(tlb: Tlb, held: Held, tables: Tables, stores: Numbers) -> TableStore | None:
    before = stores[stores < held.begin]
    if len(before) and held.cause is not None:
        if not _seen(tlb, int(before[-1]), held.cause):
            return _told(tlb, held, tables, int(before[-1]), Stored.UNSEEN)
        if not tables.filled:
            tlb.unknown.append(Unknown("tables were stored to before they were put into a TTBR"))
            return None
    until = held.end if tables.empty else held.gone
    during = [
        number
        for number in stores[(stores >= held.begin) & (stores < until)][:MAX_STORES].tolist()
        if tlb.is_on(held.view.level, number)
    ]
    if not during:
        return None
    if tables.empty:
        return _told(tlb, held, tables, during[0], Stored.EMPTY)
    for number in during:
        if _overlaps(tlb, number, tables):
            return _told(tlb, held, tables, number, Stored.VALID)
    tlb.unknown.append(Unknown("entries were added to tables that are in a TTBR"))
    return None


def _seen(tlb: Tlb, store: int, cause: int) -> bool:
    """Whether a DSB makes record ``store`` visible to walks before record ``cause``."""
    between = tlb.trace.records[store:cause]
    kinds = between["encoding"] & DSB_TYPE
    barrier = (between["kind"] == TraceKind.DSB) & ((kinds == DSB_FULL) | (kinds == _DSB_STORES))
    return bool(barrier.any())


def _overlaps(tlb: Tlb, number: int, tables: Tables) -> bool:
    record = tlb.trace.records[number]
    start = int(record["pa"])
    at = bisect_right(tables.entries, start, key=lambda entries: entries[1])
    return at < len(tables.entries) and tables.entries[at][0] < start + int(record["length"])


def _told(tlb: Tlb, held: Held, tables: Tables, number: int, what: Stored) -> TableStore:
    record = tlb.trace.records[number]
    start = int(record["pa"])
    stop = start + int(record["length"])
    pa = min(max(start, first) for first, end in tables.pages if first < stop and end > start)
    return TableStore(held, number, pa, what)
