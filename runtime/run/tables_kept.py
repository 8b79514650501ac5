"""Guest RAM to TableFacts: the tables that a trace had in a TTBR, as they were where it begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relokit.runtime.arch.descriptors import LPA, LPA2, PLAIN
from relokit.runtime.arch.geometry import GRANULES
from relokit.runtime.arch.table_tree import LevelLeaves, TableTree, TooManyTablesError, table_tree
from relokit.runtime.arch.translation import TableRange
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import WORD, Words
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.known import Unknown, UnknownFactError
from relokit.runtime.record.prehistory import Range, merged
from relokit.runtime.record.tables import (
    Leaves,
    TableFacts,
    TableKey,
    Tables,
    UnknownTables,
)
from relokit.runtime.record.trace import Trace
from relokit.runtime.record.views import views_of

TABLE_OWNERS = frozenset(
    {
        OwnerKind.SWAPPER,
        OwnerKind.ZERO_PAGE,
        OwnerKind.LINEAR_MAP,
        OwnerKind.CONTROL_IDMAP,
        OwnerKind.RESTART_IDMAP,
        OwnerKind.RESUMED_SWAPPER,
    }
)
MAX_RANGES = 1 << 12
"""Ranges of one set of tables: a linear map has some ten."""


class TablesKept:
    """A copy of the tables of ``guest`` as they are now, some 100 KiB; of others, no copy.

    Nor of those that a resume fills in: these are what they are when it is over.
    """

    def __init__(self, guest: Machine | Resume) -> None:
        self._memory = guest.memory
        self._cpu_bits = guest.target.cpu_bits
        restored = guest.restored if isinstance(guest, Resume) else ()
        self._filled = frozenset(region for region, _ in restored)
        self._kept: list[tuple[Region, Words]] = [
            (region, guest.memory.u64(region.base, region.size // WORD).copy())
            for region in guest.allocator.regions
            if region.owner.kind in TABLE_OWNERS and region not in self._filled
        ]
        if isinstance(guest, Machine) and guest.found is not None:
            for low, high in guest.found.tables:
                region = Region(Owner(OwnerKind.SWAPPER), low, high - low)
                words = guest.memory.u64(low, region.size // WORD).copy()
                self._kept.append((region, words))
        self._changed: list[tuple[Region, Words]] = []

    def facts(self, trace: Trace) -> TableFacts | Unknown:
        """What ``trace`` had in a TTBR. What was not kept is taken as it is now."""
        try:
            views = views_of(trace, self._cpu_bits)
        except UnknownFactError as missing:
            return Unknown(str(missing))
        self._changed = [
            (region, words)
            for region, words in self._kept
            if not np.array_equal(words, self._memory.u64(region.base, region.size // WORD))
        ]
        keys = dict.fromkeys(span.view.tables for span in views.spans)
        return TableFacts(
            self._cpu_bits, tuple(self._tables(key) for key in keys if key is not None)
        )

    def _tables(self, key: TableKey) -> Tables | UnknownTables:
        try:
            tree = table_tree(self._read, _range(key), key.root)
        except TooManyTablesError:
            return UnknownTables(key, Unknown("there are more tables than are looked at"))
        leaves = leaves_of(tree)
        pages = merged((pa, pa + size) for tables, size in tree.tables for pa in tables.tolist())
        entries = _runs(tree.entries)
        if leaves is None or entries is None:
            return UnknownTables(key, Unknown(f"the tables map more than {MAX_RANGES:,} ranges"))
        filled = any(key.root in region for region in self._filled)
        return Tables(key, leaves, pages, entries, tree.missing, filled)

    def _read(self, tables: Words, count: int) -> tuple[Words, NDArray[np.bool_]]:
        memory, size = self._memory, np.uint64(count * WORD)
        there = ~memory.absent(tables, int(size))
        found = tables[there]
        slots = ((found - np.uint64(memory.base)) // np.uint64(WORD)).astype(np.intp)
        rows = memory.words[slots[:, None] + np.arange(count)]
        for region, words in self._changed:
            within = (found >= region.base) & (found + size <= region.end)
            for at in np.flatnonzero(within).tolist():
                first = (int(found[at]) - region.base) // WORD
                rows[at] = words[first : first + count]
        return rows, there


def _range(key: TableKey) -> TableRange:
    granule = GRANULES[key.page_size]
    output = (LPA2 if granule.has_ds else LPA) if key.wide else PLAIN
    return TableRange(
        root=0,
        va_bits=key.va_bits,
        granule=granule,
        enabled=True,
        ignored_top=0,
        upper=key.upper,
        hierarchical=key.hierarchical,
        pa_bits=key.pa_bits,
        output=output,
    )


def leaves_of(tree: TableTree) -> tuple[Leaves, ...] | None:
    """The leaves as ranges, ascending by VA; None if there are too many."""
    if not tree.levels:
        return ()
    va, pa, bits, level, size = (
        np.concatenate(columns)
        for columns in zip(*(_columns(level) for level in tree.levels), strict=True)
    )
    order = np.argsort(va)
    va, pa, bits, level, size = va[order], pa[order], bits[order], level[order], size[order]
    follows = (va[1:] == va[:-1] + size[:-1]) & (pa[1:] == pa[:-1] + size[:-1])
    follows &= (bits[1:] == bits[:-1]) & (level[1:] == level[:-1])
    breaks = np.flatnonzero(~follows) + 1
    if len(breaks) >= MAX_RANGES:
        return None
    firsts = np.concatenate(([0], breaks))
    counts = np.diff(np.concatenate((firsts, [len(va)])))
    columns = (va, pa, size, level, bits)
    return tuple(
        Leaves(at, to, each * many, number, held)
        for at, to, each, number, held, many in zip(
            *(column[firsts].tolist() for column in columns), counts.tolist(), strict=True
        )
    )


def _columns(level: LevelLeaves) -> tuple[Words, ...]:
    """VA, PA, bits, number and size of each leaf."""
    count = len(level.va)
    number, size = (np.full(count, value, np.uint64) for value in (level.number, level.size))
    return level.va, level.pa, level.bits, number, size


def _runs(entries: Words) -> tuple[Range, ...] | None:
    """PAs of words that follow each other, as ranges; None if there are too many."""
    if not len(entries):
        return ()
    ordered = np.sort(entries)
    # A table that is led to twice has its entries twice.
    breaks = np.flatnonzero(np.diff(ordered) > WORD) + 1
    if len(breaks) >= MAX_RANGES:
        return None
    firsts = ordered[np.concatenate(([0], breaks))].tolist()
    lasts = ordered[np.concatenate((breaks - 1, [len(ordered) - 1]))].tolist()
    return tuple((first, last + WORD) for first, last in zip(firsts, lasts, strict=True))
