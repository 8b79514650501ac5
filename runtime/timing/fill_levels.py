"""Which entry of the tables each page was translated by: its level, and which one it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relokit.runtime.record.known import UnknownFactError, known
from relokit.runtime.record.record import Record
from relokit.runtime.record.tables import Tables
from relokit.runtime.record.trace import ATTRIBUTE_MMU, Trace, TraceKind
from relokit.runtime.record.views import TranslationView, views_of

LEAF_LEVEL = 3
_TRANSLATES = np.dtype([("level", "i1"), ("entry", "<u8"), ("tables", "<i8")])
Numbers = npt.NDArray[np.intp]


def translations_of(record: Record, fills: Numbers) -> npt.NDArray[np.void]:
    """For each of the fills, by number in the trace: level, first VA of the entry, which tables.

    Raises UnknownFactError where nobody knows the tables. With the MMU off the level is -1.
    """
    trace = known(record.trace)
    rows = trace.records[fills]
    found = np.zeros(len(fills), _TRANSLATES)
    found["level"] = -1
    on = (rows["attributes"] & ATTRIBUTE_MMU) != 0
    if not on.any():
        return found
    facts = known(record.tables)
    by_key = {one.key: number for number, one in enumerate(facts.tables)}
    left = on.copy()
    for span in views_of(trace, facts.cpu_bits).spans:
        mine = on & (fills >= span.begin) & (fills < span.end) & _in_view(rows, span.view)
        if not mine.any():
            continue
        if span.view.tables is None:
            raise UnknownFactError("what TTBR0 holds is not known where it is translated by")
        number = by_key[span.view.tables]
        tables = facts.tables[number]
        if not isinstance(tables, Tables):
            raise UnknownFactError(tables.why.why)
        where = np.flatnonzero(mine)
        level, entry, there = _looked_up(tables, rows["va"][where])
        # Of two that may count the engine goes by the later, if that maps it.
        where = where[there]
        found["level"][where], found["entry"][where] = level[there], entry[there]
        found["tables"][where] = number
        left[where] = False
    if left.any():
        raise UnknownFactError("pages were translated that the tables do not map")
    return found


def _in_view(rows: npt.NDArray[np.void], view: TranslationView) -> npt.NDArray[np.bool_]:
    level = np.where(rows["el"] == 2, 2, 1)
    upper = rows["va"] >> np.uint64(63) != 0
    right: npt.NDArray[np.bool_] = (level == view.level) & (upper == view.upper)
    return right


def _looked_up(
    tables: Tables, pages: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Of VAs the level and first VA of the entry that maps each, and whether there is one."""
    leaves = tables.leaves
    level, entry = np.zeros(len(pages), np.int8), np.zeros(len(pages), np.uint64)
    if not leaves:
        return level, entry, np.zeros(len(pages), np.bool_)
    firsts = np.array([one.va for one in leaves], np.uint64)
    ends = np.array([one.va + one.size - 1 for one in leaves], np.uint64)
    levels = np.array([one.level for one in leaves], np.int8)
    at = np.searchsorted(firsts, pages, side="right") - 1
    there = (at >= 0) & (pages <= ends[at])
    level = levels[at]
    sizes = np.array(
        [entry_size(tables.key.page_size, number) for number in range(LEAF_LEVEL + 1)], np.uint64
    )
    entry = pages & ~(sizes[level] - np.uint64(1))
    return level, entry, there


def entry_size(page_size: int, level: int) -> int:
    """Bytes that an entry of ``level`` maps: a page at level 3 (DDI 0487, D8.2)."""
    return int(page_size << (page_size.bit_length() - 4) * (LEAF_LEVEL - level))


def turns_of(trace: Trace) -> npt.NDArray[np.intp]:
    """The records at which a TLB is to forget: TLBI, whichever."""
    return np.flatnonzero(trace.records["kind"] == TraceKind.TLBI)
