"""What judging a evidence takes: no more than there is, whatever a file says."""

from __future__ import annotations

import numpy as np

from relokit.runtime.guest.memory import GIB, host_limit
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.record import Record
from relokit.runtime.record.trace import Trace, TraceFlag

CHUNK = 16
"""Rules keep what they know of memory by 2^16 bytes (judge/model/caches/lines.py)."""
MAX_VISITS = 1 << 24
"""How often all records may touch such a piece of memory: 512 GiB that are copied."""
MAX_SEGMENTS = 1 << 10
"""Others are looked through for each of them; kexec_load takes 16 (linux/kexec.h)."""
SHARE = 2
"""Bytes of guest memory that a byte of the host's is enough for: what is known of their lines."""


def too_much(record: Record) -> str | None:
    """Why ``record`` cannot be judged on this host, in words; None if it can."""
    if len(record.segments) > MAX_SEGMENTS:
        return f"it has {len(record.segments):,} segments, and that is no move"
    first, last = _extents(record)
    visits = int((last - first).sum(dtype=np.float64)) + len(first)
    if visits > MAX_VISITS:
        return f"its records go on over {visits >> (30 - CHUNK):,} GiB, and that is no move"
    touched = _united(first, last) << CHUNK
    limit, source = host_limit()
    if touched // SHARE > limit:
        return (
            f"it touches {touched / GIB:,.1f} GiB of memory: judging that takes half as much, and "
            f"the host has {limit / GIB:.1f} GiB ({source})"
        )
    return None


def _extents(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last piece of memory of all there is in ``record`` that has a length."""
    spans = [(one.base, one.size) for one in record.segments]
    if isinstance(record.prehistory, Prehistory):
        before = record.prehistory
        for ranges in (before.clean, before.needed, before.unfetchable):
            spans += [(one, end - one) for one, end in ranges]
    pas = [np.array([max(pa, 0) for pa, size in spans if size > 0], np.uint64)]
    sizes = [np.array([size for _, size in spans if size > 0], np.uint64)]
    if isinstance(record.trace, Trace):
        records = record.trace.records
        ranges = records[(records["length"] > 0) & ((records["flags"] & TraceFlag.NO_PA) == 0)]
        pas.append(ranges["pa"])
        sizes.append(ranges["length"])
    pa, size = np.concatenate(pas), np.concatenate(sizes)
    # A PA and a size of a file may lead past the last address.
    last = pa + np.minimum(size - np.uint64(1), np.uint64(2**64 - 1) - pa)
    shift = np.uint64(CHUNK)
    return (pa >> shift).astype(np.int64), (last >> shift).astype(np.int64)


def _united(first: np.ndarray, last: np.ndarray) -> int:
    """How many pieces there are in the ranges, each counted once."""
    order = np.argsort(first, kind="stable")
    first, last = first[order], last[order]
    before = np.maximum.accumulate(np.concatenate([[-1], last[:-1]]))
    return int(np.maximum(last - np.maximum(first - 1, before), 0).sum())
