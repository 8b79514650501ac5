"""What machine_kexec_post_load stores, and what of the loaded image changes behind it: by pages.

A stub tells no stores. RAM is a file: pages are compared at entry, at return and at the jump.
What interrupts and other CPUs store in between counts as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.host_file import HostFile
from relokit.runtime.snapshot.snapshot import PAGE, LoadSeen
from relokit.runtime.snapshot.snapshot_writing import written_ranges

PREPARES = "machine_kexec_post_load"
WORDS = PAGE // 8
PIECE = 1 << 22
"""Bytes that are looked at together."""
Prints = NDArray[np.uint64]
_FACTORS = np.random.default_rng(0).integers(1, 1 << 63, WORDS, np.uint64) | np.uint64(1)


def prints_of(ram: HostFile) -> Prints:
    """A number for each page, 0 for one of zeros: two that differ in a word have other ones."""
    found = np.zeros(ram.size // PAGE, np.uint64)
    content = np.frombuffer(ram.content, np.uint64).reshape(-1, WORDS)
    step = PIECE // PAGE
    for low, high in written_ranges(ram, 0, ram.size):
        first, last = low // PAGE, -(-high // PAGE)
        for at in range(first, last, step):
            end = min(at + step, last)
            found[at:end] = (content[at:end] * _FACTORS).sum(axis=1, dtype=np.uint64)
    return found


def seen(base: int, before: Prints, after: Prints, now: Prints) -> LoadSeen:
    """Of RAM from PA ``base``: at the entry, at the return, and at the jump."""
    return LoadSeen(_extents(base, before != after), _extents(base, after != now))


def _extents(base: int, pages: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], pages, [False])).astype(np.int8)))
    starts, ends = edges[::2].tolist(), edges[1::2].tolist()
    return tuple(
        (base + low * PAGE, (high - low) * PAGE) for low, high in zip(starts, ends, strict=True)
    )
