"""The recorded load to what it left in caches: which lines are clean, which code cannot be fetched.

Between the load and machine_kexec nothing is recorded. What was cleaned stays clean as long as
nobody stores to it, and what the load prepared is nobody's to store to: it is compared by digest.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from relokit.codegen.system_registers import operation_name
from relokit.runtime.found.loaded_image import LoadedImage
from relokit.runtime.kexec.machine import History
from relokit.runtime.record.prehistory import Range, merged, without
from relokit.runtime.record.trace import Trace, TraceFlag, TraceKind

TO_MEMORY = frozenset({"dc civac", "dc cvac", "dc cvap", "dc cvadp"})
"""Maintenance by address that leaves memory with what the line has (DDI 0487, D7.5.9)."""
ALL_CODE = frozenset({"ic iallu", "ic ialluis"})
MAX_STEPS = 1 << 16
"""Maintenance and stores behind it that are followed."""


def load_history(
    trace: Trace, loaded: LoadedImage, code: Iterable[int], text: Iterable[Range]
) -> History:
    """What ``trace`` of machine_kexec_post_load left; ``text`` are the kernel's ranges
    of code, which whoever loaded it has cleaned.

    ``code`` are the PAs of pages that code was copied to.
    """
    page = loaded.kimage.page_size
    given = merged(text)
    copies = [(pa, pa + page) for pa in code]
    maintained = np.flatnonzero(trace.are((TraceKind.DC, TraceKind.IC)))[:MAX_STEPS]
    if not len(maintained) or trace.full_at is not None:
        return History(given, tuple(copies))
    clean: list[Range] = []
    fetchable: list[Range] = []
    last = _last_stores(trace, copies)
    for number in maintained.tolist():
        row = trace.records[number]
        name = operation_name(int(row["encoding"]))
        if name in ALL_CODE and number > last:
            fetchable += copies
        if int(row["flags"]) & TraceFlag.NO_PA:
            continue
        lines = _lines(row)
        if name in TO_MEMORY:
            clean += without(lines, _stored(trace, number, (lines[0][0], lines[-1][1])))
        elif row["kind"] == TraceKind.IC and number > last:
            fetchable += lines
    return History(merged([*given, *clean]), tuple(without(copies, merged(fetchable))))


def _lines(row: np.void) -> list[Range]:
    """The lines that maintenance by address ``row`` is for, each by the operand that is in it."""
    start, count, line = int(row["pa"]), int(row["count"]), int(row["size"])
    step = int(row["stride"]) or line
    if step <= line:
        return [(start & -line, (start + (count - 1) * step & -line) + line)]
    operands = range(start, start + count * step, step)
    return [(at & -line, (at & -line) + line) for at in operands]


def _last_stores(trace: Trace, copies: list[Range]) -> int:
    """The number of the last store to one of ``copies``."""
    stores = np.flatnonzero(trace.kinds == TraceKind.STORE)
    rows = trace.records[stores]
    hit = np.zeros(len(rows), np.bool_)
    for low, high in copies:
        hit |= (rows["pa"] < high) & (rows["pa"] + rows["length"] > low)
    found = stores[hit]
    return int(found[-1]) if len(found) else -1


def _stored(trace: Trace, number: int, extent: Range) -> list[Range]:
    """What of ``extent`` is stored to behind record ``number``."""
    later = trace.records[number + 1 :]
    later = later[later["kind"] == TraceKind.STORE]
    hit = (later["pa"] < extent[1]) & (later["pa"] + later["length"] > extent[0])
    return [(int(row["pa"]), int(row["pa"] + row["length"])) for row in later[hit][:MAX_STEPS]]
