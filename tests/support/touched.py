"""Guest RAM by what is in it: pages that nobody has touched need not be looked at."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np

from relokit.runtime.guest.memory import HOST_PAGE, GuestMemory

_THERE = np.uint64(62)
"""Bit 63 of an entry of /proc/self/pagemap: present; bit 62: swapped out."""


def digest_of(memory: GuestMemory) -> bytes:
    """Of all bytes that are not zero, with their PAs."""
    digest = blake2b()
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        for base, size in memory.banks:
            pagemap.seek((memory.address + base - memory.base) // HOST_PAGE * 8)
            entries = np.frombuffer(pagemap.read(size // HOST_PAGE * 8), dtype=np.uint64)
            for index in np.flatnonzero(entries >> _THERE):
                pa = base + int(index) * HOST_PAGE
                page = memory.view(pa, HOST_PAGE).data.tobytes()
                if any(page):
                    digest.update(pa.to_bytes(8, "little") + page)
    return digest.digest()
