"""All that translation tables map, a level at a time: the walk turned round.

Source: ARM DDI 0487, D8.2 to D8.4, as for the walk (walker.py). Entries that cause a fault map
nothing; of them a TLB holds nothing either (D8.16, RXCLRD).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import ENTRY_SIZE, LEAF_LEVEL
from relokit.runtime.arch.translation import TableRange
from relokit.runtime.arch.walker import effective, inherited
from relokit.runtime.guest.memory import Words

MAX_TABLES = 1 << 14
"""Tables of a level: 32 GiB by pages of 4 KiB. A table that leads to itself has more."""
ATTRIBUTES = (
    d.ATTR_INDEX | d.NS | d.AP_EL0 | d.AP_READ_ONLY | d.SH | d.AF | d.NG | d.DBM | d.CONTIGUOUS
    | d.PXN | d.UXN
)  # fmt: skip
"""Bits of a leaf that mean something to the CPU, besides its type and address."""

Read = Callable[[Words, int], tuple[Words, NDArray[np.bool_]]]
"""Called with PAs of tables and how many entries each has. Returns those entries, a row each, and
which of the tables are in RAM; only they have a row."""


class TooManyTablesError(Exception):
    """The tables have more than MAX_TABLES of a level."""


@dataclass(frozen=True)
class LevelLeaves:
    """The leaves of one level: arrays of VA, PA and attribute bits, ``size`` bytes each."""

    number: int
    size: int
    va: Words
    pa: Words
    bits: Words


@dataclass(frozen=True)
class TableTree:
    """All levels. ``tables`` are the PAs of tables, with the bytes of each; ``entries`` the PAs of
    valid descriptors; ``missing`` the PA of a table that is not in RAM."""

    levels: tuple[LevelLeaves, ...]
    tables: tuple[tuple[Words, int], ...]
    entries: Words
    missing: int | None


def table_tree(read: Read, r: TableRange, root: int) -> TableTree:
    """What the tables at PA ``root`` map, read as ``r`` says; raises TooManyTablesError."""
    levels, seen, entries = [], [], []
    missing: int | None = None
    tables = np.array([root], np.uint64)
    vas = np.array([(1 << 64) - (1 << r.va_bits) if r.upper else 0], np.uint64)
    limits = np.zeros(1, np.uint64)
    count = r.granule.root_entries(r.va_bits)
    for level in range(r.start, LEAF_LEVEL + 1):
        if len(tables) > MAX_TABLES:
            raise TooManyTablesError
        rows, there = read(tables, count)
        if not there.all():
            missing = int(tables[~there][0]) if missing is None else missing
            tables, vas, limits = tables[there], vas[there], limits[there]
        seen.append((tables, count * ENTRY_SIZE))
        words = rows.reshape(-1)
        valid = np.flatnonzero(words & np.uint64(d.VALID))
        if not len(valid):
            break
        row, column = valid // count, (valid % count).astype(np.uint64)
        words = words[valid]
        entries.append(tables[row] + column * np.uint64(ENTRY_SIZE))
        span = r.granule.span(level)
        vas = vas[row] + column * np.uint64(span)
        limits = limits[row]
        kind = words & np.uint64(d.TYPE)
        pas = r.output.decode(words)
        leaf = _leaf(r, level, kind, words, pas)
        if leaf.any():
            bits = effective(words[leaf], limits[leaf]) & np.uint64(r.output.attributes(ATTRIBUTES))
            pa = pas[leaf] & ~np.uint64(span - 1)
            levels.append(LevelLeaves(level, span, vas[leaf], pa, bits))
        down = (kind == d.TABLE) & (pas >> np.uint64(r.pa_bits) == 0)
        if level == LEAF_LEVEL or not down.any():
            break
        vas, limits = vas[down], limits[down]
        if r.hierarchical:
            limits = inherited(limits, words[down])
        tables = pas[down] & ~np.uint64(r.granule.page_size - 1)
        count = r.granule.entries
    found = np.concatenate(entries) if entries else np.zeros(0, np.uint64)
    return TableTree(tuple(levels), tuple(seen), found, missing)


def _leaf(r: TableRange, level: int, kind: Words, words: Words, pas: Words) -> NDArray[np.bool_]:
    """Which entries are pages or blocks that cause no fault."""
    if level != LEAF_LEVEL and level not in r.block_levels:
        return np.zeros(len(kind), np.bool_)
    leaf: NDArray[np.bool_] = kind == (d.PAGE if level == LEAF_LEVEL else d.BLOCK)
    leaf &= words & np.uint64(d.AF) != 0
    leaf &= pas >> np.uint64(r.pa_bits) == 0
    return leaf
