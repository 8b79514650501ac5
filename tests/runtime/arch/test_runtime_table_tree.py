"""All that tables map, against the walk of each address."""

from __future__ import annotations

import random

import numpy as np
import pytest

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import GRANULES, granule_of, tcr_el1
from relokit.runtime.arch.table_tree import (
    MAX_TABLES,
    TooManyTablesError,
    table_tree,
)
from relokit.runtime.arch.translation import SCTLR_M, WalkRegisters, table_range
from relokit.runtime.arch.walker import FaultKind, permissions, walk
from relokit.runtime.guest.memory import GuestMemory, Words
from support.wild_tables import BASE, SIZE, World, wild_descriptor

HALF = 1 << 55


def reader(memory: GuestMemory) -> object:
    def read(tables: Words, count: int) -> tuple[Words, object]:
        there = (tables >= memory.base) & (tables + np.uint64(8 * count) <= memory.end)
        rows = [memory.u64(int(pa), count) for pa in tables[there]]
        return np.array(rows, np.uint64).reshape(-1, count), there

    return read


def wild(page_size: int, seed: int) -> tuple[World, WalkRegisters, list[int]]:
    """Tables that lead to each other and anywhere; a few entries of each are in use."""
    rng = random.Random(seed)
    world = World(page_size)
    count = 6
    pages = [world.allocator.alloc(world.idmap.owner, page_size).base for _ in range(count)]
    for table in pages:
        for _ in range(5):
            slot = rng.randrange(world.granule.entries)
            world.memory.write_u64(table + 8 * slot, wild_descriptor(rng, [*pages, BASE + SIZE]))
    granule = granule_of(page_size)
    registers = WalkRegisters(
        sctlr=SCTLR_M,
        tcr=tcr_el1(
            granule, t0_bits=48, t1_bits=rng.choice([39, 48]), pa_bits=rng.choice([40, 48])
        ),
        ttbr0=pages[0],
        ttbr1=pages[0],
    )
    return world, registers, pages


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("page_size", GRANULES)
@pytest.mark.parametrize("seed", range(12))
def test_leaves_are_what_the_walk_finds(page_size: int, upper: bool, seed: int) -> None:
    world, registers, _ = wild(page_size, seed)
    r = table_range(registers, 1, upper)
    tree = table_tree(reader(world.memory), r, r.root_table)  # type: ignore[arg-type]
    mapped = {}
    for level in tree.levels:
        writable, executable = permissions(level.bits, registers, 1)
        for va, pa, w, x in zip(
            level.va.tolist(), level.pa.tolist(), writable, executable, strict=True
        ):
            mapped[va] = (pa, level.number, level.size, bool(w), bool(x))
    for va, leaf in mapped.items():
        for at in (va, va + leaf[2] - 1):
            found = walk(world.memory, registers, at, el=1)
            assert found.pa == leaf[0] + at - va
            assert (found.level, found.size) == leaf[1:3]
            assert (found.writable, found.executable) == leaf[3:]
    rng = random.Random(seed)
    starts = np.array(sorted(mapped), np.uint64)
    for _ in range(200):
        # Near what is mapped, and anywhere in the range.
        va = rng.randrange(1 << r.va_bits) | (((1 << 64) - (1 << r.va_bits)) if upper else 0)
        if mapped and rng.random() < 0.5:
            va = rng.choice(list(mapped)) + rng.choice([-1, 1]) * rng.randrange(4 * page_size)
            if not 0 <= va < 1 << 64 or bool(va & HALF) != upper:
                continue
        found = walk(world.memory, registers, va, el=1)
        at = int(np.searchsorted(starts, np.uint64(va), side="right")) - 1
        inside = at >= 0 and va < int(starts[at]) + mapped[int(starts[at])][2]
        assert inside == (found.fault is None), hex(va)
        if found.fault and found.fault.kind is FaultKind.EXTERNAL_ABORT_ON_WALK:
            assert tree.missing is not None


def test_entries_are_the_valid_ones_and_tables_those_that_are_read() -> None:
    world, registers, _ = wild(4096, 1)
    r = table_range(registers, 1, upper=False)
    tree = table_tree(reader(world.memory), r, r.root_table)  # type: ignore[arg-type]
    assert all(world.memory.read_u64(int(pa)) & d.VALID for pa in tree.entries)
    assert tree.tables[0][0].tolist() == [r.root_table]


def test_a_table_that_leads_to_itself_is_bounded() -> None:
    memory = GuestMemory(BASE, SIZE)
    memory.u64(BASE, 512)[:] = BASE | d.TABLE
    registers = WalkRegisters(
        sctlr=SCTLR_M, tcr=tcr_el1(granule_of(4096), t0_bits=48, t1_bits=48, pa_bits=48), ttbr0=BASE
    )
    with pytest.raises(TooManyTablesError):
        table_tree(reader(memory), table_range(registers, 1, upper=False), BASE)  # type: ignore[arg-type]
    assert MAX_TABLES < 512 * 512


def test_a_root_outside_ram_maps_nothing_and_is_missing() -> None:
    memory = GuestMemory(BASE, SIZE)
    registers = WalkRegisters(sctlr=SCTLR_M, tcr=0, ttbr0=0x1000)
    tree = table_tree(reader(memory), table_range(registers, 1, upper=False), 0x1000)  # type: ignore[arg-type]
    assert (tree.levels, tree.missing, len(tree.entries)) == ((), 0x1000, 0)
