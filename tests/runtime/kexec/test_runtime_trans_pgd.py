"""The transitional tables: same addresses, writable where the rule says, nothing shared."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import VA_BITS, Target
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import granule_of
from relokit.runtime.arch.translation import WalkRegisters
from relokit.runtime.arch.walker import walk, walk_many
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import OwnerKind, destination
from relokit.runtime.kexec.address_space import (
    kernel_tcr,
    kernel_ttbr1,
    output_format,
    with_t0sz,
)
from relokit.runtime.kexec.pagetables import PageTables, map_linear
from relokit.runtime.kexec.trans_pgd import (
    COPY_RULES,
    copy_el2_vectors,
    copy_rule,
    create_copy,
    idmap_page,
    zero_page,
)

BASE = 0x4000_0000
MIB = 1 << 20
GEOMETRIES = [(page, va_bits) for page, sizes in VA_BITS.items() for va_bits in sizes]
# Page size, VA bits of the kernel, bits of the CPU.
MACHINES = [
    (page, va_bits, cpu) for page, va_bits in GEOMETRIES for cpu in (48, 52)[: 1 + (va_bits == 52)]
]


class World:
    """RAM with the old kernel's linear map in it, its text alias read-only."""

    def __init__(
        self,
        page: int = 4096,
        va_bits: int = 48,
        cpu_bits: int = 0,
        *,
        ram: int = 32 * MIB,
        read_only: tuple[tuple[int, int], ...] = ((BASE + 4 * MIB, MIB),),
        blocks: bool = True,
    ) -> None:
        self.target = Target(page_size=page, va_bits=va_bits, cpu_bits=cpu_bits)
        self.memory = GuestMemory(BASE, ram)
        self.allocator = PageAllocator(self.memory, page)
        self.allocator.reserve(destination(0, "kernel"), BASE + 4 * MIB, 2 * MIB)
        self.tables = PageTables(
            self.memory,
            self.allocator,
            granule_of(page),
            self.target.table_va_bits,
            upper=True,
            owner=destination(0, "swapper"),
            output=output_format(self.target),
        )
        map_linear(
            self.tables,
            self.target.linear_start,
            self.target.page_end,
            BASE,
            read_only=read_only,
            blocks=blocks,
        )

    def copy(self, rule: str = "6.1") -> int:
        return create_copy(
            self.memory,
            self.allocator,
            self.tables.root,
            self.target,
            self.target.linear_start,
            self.target.page_end,
            rule=COPY_RULES[rule],
        )

    def registers(self, ttbr1: int) -> WalkRegisters:
        tcr = kernel_tcr(self.target, self.memory.end)
        table = kernel_ttbr1(self.target, ttbr1)
        return WalkRegisters(1, tcr, 0, table, cpu_bits=self.target.cpu_bits)

    def va(self, pa: int) -> int:
        return self.target.linear_start + pa - BASE

    def leaf(self, root: int, pa: int) -> tuple[int, int]:
        """(PA of the leaf entry, its descriptor) for the linear address of ``pa``."""
        step = walk(self.memory, self.registers(root), self.va(pa), el=1).trail[-1]
        return step.entry, step.descriptor


@settings(max_examples=60)
@given(
    geometry=st.sampled_from(MACHINES),
    blocks=st.booleans(),
    rule=st.sampled_from(sorted(COPY_RULES)),
    first=st.integers(0, 400),
    pages=st.integers(1, 100),
)
def test_a_copy_translates_the_same_and_everything_is_writable(
    geometry: tuple[int, int, int], blocks: bool, rule: str, first: int, pages: int
) -> None:
    page, va_bits, cpu_bits = geometry
    ram_pages = 32 * MIB // page
    first, pages = first % (ram_pages - 1), min(pages, ram_pages // 2)
    pages = min(pages, ram_pages - first)
    text = ((BASE + first * page, pages * page),)
    world = World(page, va_bits, cpu_bits, read_only=text, blocks=blocks)
    copy = world.copy(rule)
    vas = np.uint64(world.target.linear_start) + np.arange(0, 32 * MIB, page, dtype=np.uint64)
    before = walk_many(world.memory, world.registers(world.tables.root), vas, el=1)
    after = walk_many(world.memory, world.registers(copy), vas, el=1)
    assert (before.pa == after.pa).all()
    assert (before.level == after.level).all()
    assert (before.attr_index == after.attr_index).all()
    assert (~before.writable).sum() == pages
    assert after.writable.all()
    assert not after.executable.any()
    outside = walk(world.memory, world.registers(copy), world.va(BASE + 32 * MIB), el=1)
    assert outside.fault


def test_no_table_is_shared_with_the_original_and_the_ledger_has_them_all() -> None:
    world = World(blocks=False)
    old = {region.base for region in world.allocator.regions}
    copy = world.copy()
    for pa in range(BASE, BASE + 32 * MIB, MIB):
        result = walk(world.memory, world.registers(copy), world.va(pa), el=1)
        for step in result.trail:
            owner = world.allocator.owner(step.table)
            assert owner
            assert owner.owner.kind is OwnerKind.LINEAR_MAP
            assert owner.base not in old


def test_table_descriptors_carry_the_limits_shipped_kernels_write() -> None:
    world = World(blocks=False)
    regs = world.registers(world.copy())
    limits = [
        step.descriptor & ~d.PLAIN.in_place
        for step in walk(world.memory, regs, world.va(BASE), el=1).trail[:-1]
    ]
    assert limits == [3 | 1 << 59, 3 | 1 << 59, 3 | 1 << 60]
    late = World(blocks=False)
    regs = late.registers(late.copy("7.2"))
    trail = walk(late.memory, regs, late.va(BASE), el=1).trail
    assert [step.descriptor & ~d.PLAIN.in_place for step in trail[:-1]] == [
        0x403 | 1 << 59,
        0x403 | 1 << 59,
        0x403 | 1 << 60,
    ]


@pytest.mark.parametrize("va_bits", [36, 47])
def test_the_pointer_to_the_last_level_is_its_own_case_at_every_depth(va_bits: int) -> None:
    world = World(16384, va_bits, blocks=False)
    regs = world.registers(world.copy())
    trail = walk(world.memory, regs, world.va(BASE), el=1).trail
    limits = [step.descriptor >> 59 for step in trail[:-1]]
    assert limits == [1] * (len(trail) - 2) + [2]


# Page entries: bit 7 read-only, 51 write, 55 software-dirty, 11 nG, 0 valid.
RO, WR, SD, NG = 1 << 7, 1 << 51, 1 << 55, 1 << 11
PLAIN = 1 << 54 | 1 << 53 | 1 << 10 | 0x300


@pytest.mark.parametrize(
    ("entry", "early", "middle", "late"),
    [
        (PLAIN | 3 | RO | SD, PLAIN | 3 | WR | SD, PLAIN | 3 | WR | SD, PLAIN | 3 | WR | SD),
        (PLAIN | 3 | RO, PLAIN | 3 | RO | WR, PLAIN | 3 | RO | WR, PLAIN | 3 | RO | WR),
        (PLAIN | 3 | WR, PLAIN | 3 | WR, PLAIN | 3 | WR, PLAIN | 3 | WR),
        (PLAIN | 3 | NG, PLAIN | 3 | NG | WR, PLAIN | 3 | NG | WR, PLAIN | 3 | WR),
        (PLAIN | 2 | RO | SD, 0, PLAIN | 3 | WR | SD, PLAIN | 3 | WR | SD),
        (PLAIN | 2, 0, PLAIN | 3 | WR, PLAIN | 3 | WR),
        (0, 0, 0, 0),
    ],
)
def test_the_rule_for_pages_by_version(entry: int, early: int, middle: int, late: int) -> None:
    pa = BASE + 0x5000
    for rule, expected in (("6.1", early), ("6.12", middle), ("7.2", late)):
        world = World(blocks=False)
        at, _ = world.leaf(world.tables.root, pa)
        world.memory.write_u64(at, entry and entry | pa)
        assert world.leaf(world.copy(rule), pa)[1] == (expected and expected | pa)


@pytest.mark.parametrize(
    ("entry", "early", "late"),
    [
        (PLAIN | 1 | RO | SD, PLAIN | 1 | SD, PLAIN | 1 | WR | SD),
        (PLAIN | 1 | RO, PLAIN | 1, PLAIN | 1 | WR | RO),
        (PLAIN | 1 | NG, PLAIN | 1 | NG, PLAIN | 1 | WR),
        (PLAIN, 0, PLAIN | 1 | WR),
    ],
)
def test_the_rule_for_blocks_by_version(entry: int, early: int, late: int) -> None:
    pa = BASE + 8 * MIB
    for rule, expected in (("6.1", early), ("6.12", early), ("7.2", late)):
        world = World()
        at, _ = world.leaf(world.tables.root, pa)
        world.memory.write_u64(at, entry | pa)
        assert world.leaf(world.copy(rule), pa)[1] == (expected and expected | pa)


def test_only_the_range_asked_for_is_copied() -> None:
    world = World(blocks=False)
    start, end = world.va(BASE + 8 * MIB), world.va(BASE + 10 * MIB) + 4096
    copy = create_copy(world.memory, world.allocator, world.tables.root, world.target, start, end)
    regs = world.registers(copy)
    for va, mapped in ((start - 1, False), (start, True), (end - 1, True), (end, False)):
        assert (walk(world.memory, regs, va, el=1).fault is None) == mapped
    # The kernel's own half of the range is not part of the linear map.
    world.tables.map(world.target.page_end, BASE, 4096, d.KERNEL_RX)
    regs = world.registers(world.copy())
    assert walk(world.memory, regs, world.target.page_end, el=1).fault


def test_a_base_from_another_va_size_is_refused_with_the_reason() -> None:
    world = World(va_bits=39)
    wide = Target(va_bits=48)
    with pytest.raises(MachineError, match="outside the 39-bit upper range") as caught:
        create_copy(
            world.memory,
            world.allocator,
            world.tables.root,
            world.target,
            wide.page_offset,
            wide.page_end,
        )
    assert "T1SZ" in str(caught.value.hint)


def test_hostile_tables_end_in_a_message() -> None:
    world = World()
    root = world.tables.root
    world.memory.write_u64(root, (BASE - 4096) | d.TABLE)
    with pytest.raises(MachineError, match="0x3ffff"):
        world.copy()
    # A table of which every entry is itself would be copied 512^3 times.
    for index in range(512):
        world.memory.write_u64(root + 8 * index, root | d.TABLE)
    with pytest.raises(MachineError, match="no room"):
        world.copy()


def test_a_table_that_only_begins_in_ram_is_refused() -> None:
    target = Target(page_size=65536, va_bits=42)
    memory = GuestMemory(BASE, 2 * MIB + 4096)
    allocator = PageAllocator(memory, 65536)
    with pytest.raises(MachineError, match="no 64-bit word of RAM"):
        create_copy(memory, allocator, BASE + 2 * MIB, target, target.page_offset, target.page_end)


@pytest.mark.parametrize(("page", "va_bits"), GEOMETRIES)
def test_the_idmap_is_one_executable_page_and_a_48_bit_range(page: int, va_bits: int) -> None:
    target = Target(page_size=page, va_bits=va_bits)
    base = (1 << 47) + (1 << 40)  # beyond what a smaller kernel VA could reach
    memory = GuestMemory(base, 4 * MIB)
    allocator = PageAllocator(memory, page)
    control = allocator.alloc(destination(0, "control code page"), page).base
    ttbr0, t0sz = idmap_page(memory, allocator, target, control)
    assert t0sz == 16
    tcr = with_t0sz(kernel_tcr(target, memory.end), t0sz)
    regs = WalkRegisters(1, tcr, ttbr0, cpu_bits=target.cpu_bits)
    for va, mapped in (
        (control - 1, False),
        (control, True),
        (control + page - 1, True),
        (control + page, False),
    ):
        result = walk(memory, regs, va, el=1)
        assert (result.pa == va) == mapped
    inside = walk(memory, regs, control + 4, el=1)
    assert (inside.level, inside.writable, inside.executable) == (3, False, True)
    assert inside.trail[-1].descriptor == control | 1 << 54 | 1 << 55 | (
        0x483 if target.lpa2 else 0x783
    )
    assert all(step.descriptor & ~d.PLAIN.in_place == 3 for step in inside.trail[:-1])


def test_vectors_are_copied_to_the_start_of_a_page_of_their_own() -> None:
    memory = GuestMemory(BASE, MIB)
    allocator = PageAllocator(memory, 4096)
    vectors = bytes(range(256)) * 8
    pa = copy_el2_vectors(memory, allocator, vectors)
    assert pa % 2048 == 0
    assert memory.read(pa, 4096) == vectors + bytes(2048)
    owner = allocator.owner(pa)
    assert owner
    assert (owner.owner.kind, owner.size) == (OwnerKind.EL2_VECTORS, 4096)
    for size in (0, 0x7FF, 0x801, 0x1000):
        with pytest.raises(MachineError, match=f"EL2 vectors of {size:#x} bytes"):
            copy_el2_vectors(memory, allocator, bytes(size))


def test_the_zero_page_maps_nothing() -> None:
    world = World()
    world.memory.view(BASE + 8 * MIB, 24 * MIB)[:] = 0xFF
    regs = world.registers(zero_page(world.allocator))
    vas = np.uint64(world.target.linear_start) + np.arange(0, 32 * MIB, 4096, dtype=np.uint64)
    assert (walk_many(world.memory, regs, vas, el=1).fault == 0b000100).all()


@pytest.mark.parametrize(
    ("version", "rule"),
    [
        ("5.10", "6.1"),
        ("6.1", "6.1"),
        ("6.6", "6.1"),
        ("6.12", "6.12"),
        ("6.18", "6.12"),
        ("7.1", "6.12"),
        ("7.2", "7.2"),
        ("10.0", "7.2"),
        ("unknown", "6.1"),
        ("", "6.1"),
        ("6.x", "6.1"),
    ],
)
def test_a_kernel_copies_by_the_newest_rule_known_up_to_it(version: str, rule: str) -> None:
    assert copy_rule(version) is COPY_RULES[rule]


def test_memory_for_tables_is_that_of_the_tables() -> None:
    """Not of all entries at once: tables of 4 GiB by pages are 8 MiB, in guest memory."""
    tracemalloc.start()
    try:
        World(ram=4 << 30, blocks=False).copy()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * MIB
