"""tlb.attributes, tlb.contiguous: the tables of the move say of memory what the old kernel's say.

The old kernel maps all RAM that it uses alike, Normal, Write-Back, inner shareable, and what it
does first in a trace shows how.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import GRANULES
from relokit.runtime.judge.model.caches.memory_type import MemoryType, in_memory, memory_type
from relokit.runtime.judge.model.tlb.tlb_contents import Held
from relokit.runtime.judge.rules.rule import Broken, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.traced.lapses_told import ask_whole, instruction, told_at
from relokit.runtime.judge.rules.traced.translations_told import (
    certain,
    followed,
    owner,
    register,
    tables,
)
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record
from relokit.runtime.record.tables import Leaves, TableKey
from relokit.runtime.record.trace import (
    ATTRIBUTE_MMU,
    ATTRIBUTE_SHAREABILITY,
    TraceFlag,
    TraceKind,
)

_ARM = "ARM DDI 0487, "
_ACCESSES = (TraceKind.LOAD, TraceKind.STORE, TraceKind.FETCH)
_VERBS = {TraceKind.LOAD: "loads", TraceKind.STORE: "stores", TraceKind.FETCH: "is fetched from"}
_SHARED = ("not shareable", "of no shareability", "outer shareable", "inner shareable")
_UPPER = 1 << 63


def _kind(attributes: int) -> tuple[MemoryType, str]:
    """What counts of the attributes of a record whose MMU is on."""
    found = memory_type(attributes, True)
    shared = "" if found is MemoryType.DEVICE else _SHARED[attributes >> ATTRIBUTE_SHAREABILITY & 3]
    return found, shared


def _spelt(kind: tuple[MemoryType, str]) -> str:
    return ", ".join(part for part in (kind[0].value, kind[1]) if part)


def _mismatches(record: Record) -> Iterator[Broken]:
    trace = known(record.trace)
    records = trace.records
    there = trace.are(_ACCESSES) & (records["attributes"] & ATTRIBUTE_MMU != 0)
    there &= records["flags"] & int(TraceFlag.NO_PA) == 0
    there &= in_memory(records["pa"], record.banks)
    numbers = np.flatnonzero(there)
    values, firsts = np.unique(records["attributes"][numbers], return_index=True)
    found = sorted(zip(numbers[firsts].tolist(), values.tolist(), strict=True))
    own = _kind(found[0][1]) if found else None
    for number, value in found[1:]:
        kind = _kind(value)
        if own is not None and kind != own:
            yield _told(record, number, _spelt(kind), _spelt(own))
    ask_whole(trace)


def _told(record: Record, number: int, kind: str, own: str) -> Broken:
    row = known(record.trace).records[number]
    pc, pa = int(row["pc"]), int(row["pa"])
    by = _in_force(record, number)
    notes = [] if by is None else [f"{register(by)} has {tables(record, by)}"]
    entries = None if by is None else _entries(by, int(row["va"]))
    if entries is not None:
        notes.append(
            f"entries of level {entries.level} there, from VA {entries.va:#x} on, "
            f"{entries.size:#x} bytes, lead to PA {entries.pa:#x}"
        )
    what = f"{instruction(record, pc)} {_VERBS[TraceKind(int(row['kind']))]} PA {pa:#x}"
    broken = told_at(
        record,
        f"{what} ({owner(record, pa)}) as {kind}; the old kernel has memory as {own}",
        pc,
        notes=notes,
    )
    # What caches have or have not of such memory comes of that.
    return replace(broken, explains=True)


def _entries(held: Held, va: int) -> Leaves | None:
    """Those of its tables that translate ``va``."""
    leaves = held.tables.leaves if held.tables is not None else ()
    return next((one for one in leaves if one.va <= va < one.end), None)


def _in_force(record: Record, number: int) -> Held | None:
    """What record ``number`` was translated by."""
    row = known(record.trace).records[number]
    upper, level = bool(int(row["va"]) & _UPPER), 2 if row["el"] == 2 else 1
    held = [
        one
        for one in followed(record).tlb.held
        if (one.view.upper, one.view.level) == (upper, level) and one.begin <= number < one.end
    ]
    return held[-1] if held else None


def _contiguous(record: Record) -> Iterator[Broken]:
    told: set[tuple[TableKey, int]] = set()
    for held in followed(record).tlb.held:
        for leaves in held.tables.leaves if held.tables is not None else ():
            key = held.tables.key if held.tables is not None else None
            if key is None or not leaves.bits & d.CONTIGUOUS or (key, leaves.va) in told:
                continue
            group = _group(key, leaves)
            if not (leaves.va % group or leaves.pa % group or leaves.size % group):
                continue
            told.add((key, leaves.va))
            pc = None
            if held.cause is not None:
                pc = int(known(record.trace).records["pc"][held.cause])
            yield told_at(
                record,
                f"{tables(record, held)} have the Contiguous bit from VA {leaves.va:#x} on in "
                f"{leaves.size:#x} bytes that lead to PA {leaves.pa:#x}, and a group of entries "
                f"of level {leaves.level} is {group:#x} bytes, aligned",
                pc,
            )
    certain(record)


def _group(key: TableKey, leaves: Leaves) -> int:
    """Bytes that entries with the Contiguous bit map together (D8.7.1)."""
    granule = GRANULES[key.page_size]
    many = _TOGETHER.get((key.page_size, leaves.level), _TOGETHER[key.page_size, -1])
    return many * granule.span(leaves.level)


_TOGETHER = {(4096, -1): 16, (16384, -1): 32, (16384, 3): 128, (65536, -1): 32}
"""Entries in a group by page size and level; -1 is any other level (D8.7.1)."""

ATTRIBUTES = (
    Rule(
        "tlb.attributes",
        "the tables of the move give memory the type, cacheability and shareability that the old "
        "kernel's have for it",
        _ARM + "B2.16: mismatched memory attributes; B2.7.2: Device memory",
        Severity.ERROR,
        always,
        _mismatches,
        "attributes of an entry: the index into MAIR, or SH",
        consequence="What other CPUs, or this one by another address, have in a cache is not what "
        "is read here: of mismatched aliases the architecture promises no coherency. Code in "
        "Device memory may not be executed at all.",
        hint="attributes as in the kernel's own map: the index of Normal Write-Back, SH inner "
        "shareable (0b11)",
    ),
    Rule(
        "tlb.contiguous",
        "the Contiguous bit is in all entries of an aligned group that leads to aligned memory, or "
        "in none",
        _ARM + "D8.7.1: the Contiguous bit (RJQQTC)",
        Severity.ERROR,
        always,
        _contiguous,
        "an entry was copied, or made, with the attributes of one that had neighbours",
        consequence="A TLB may hold one translation for the whole group: an address beside the "
        "entry's then leads to memory that was never mapped there, or is a TLB conflict abort.",
        hint="clear bit 52 in an entry that stands alone",
    ),
)
