"""Guest RAM with tables whose entries are anything, for walks that go deep and end anyhow."""

from __future__ import annotations

import random

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import granule_of
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables

BASE, SIZE = 0x4000_0000, 16 << 20


class World:
    """Guest RAM with the probe's page, its identity map, and room for wild tables."""

    def __init__(self, page_size: int) -> None:
        self.memory = GuestMemory(BASE, SIZE)
        self.allocator = PageAllocator(self.memory, page_size)
        self.granule = granule_of(page_size)
        self.code = self.allocator.alloc(destination(0, "code"), page_size).base
        self.idmap = PageTables(
            self.memory,
            self.allocator,
            self.granule,
            48,
            upper=False,
            owner=destination(0, "idmap"),
        )
        self.idmap.idmap(self.code, page_size)


def wild_descriptor(rng: random.Random, tables: list[int]) -> int:
    kind = rng.choice([0, 1, 1, 2, 3, 3, 3, 3, 3])
    # Blocks are aligned to the largest there is: the engine ORs what should be zero below.
    address = rng.choice(tables) if kind == 3 else rng.randrange(1 << 18) << 30
    attributes = rng.getrandbits(64) & ~d.PLAIN.in_place & ~0b11
    if rng.random() < 0.8:
        attributes |= d.AF
    return address & d.PLAIN.in_place | attributes | kind


def has_illegal_block(trail: str, block_levels: tuple[int, ...]) -> bool:
    """Whether a walk met a block where the granule has none: the engine takes it for one."""
    return any(
        f"L{level} " in line and ": block" in line
        for level in range(3)
        if level not in block_levels
        for line in trail.splitlines()
    )
