"""What map() wrote is what a walk reads, in as few tables as alignment allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.codegen.object import SectionFlag, SectionType
from relokit.codegen.target import VA_BITS
from relokit.linker.image import Image, PlacedSection, Segment, SegmentFlag
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import granule_of, tcr_el1
from relokit.runtime.arch.translation import WalkRegisters
from relokit.runtime.arch.walker import Walk, walk, walk_many
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.kexec.pagetables import PageTables, map_image, map_linear

BASE = 0x4000_0000
MIB = 1 << 20
SPACE = 1 << 64
GEOMETRIES = [(page, va_bits) for page, sizes in VA_BITS.items() for va_bits in sizes]


def _tables(page_size: int, va_bits: int, *, upper: bool = True, ram: int = 16 * MIB) -> PageTables:
    memory = GuestMemory(BASE, ram)
    allocator = PageAllocator(memory, page_size)
    return PageTables(
        memory,
        allocator,
        granule_of(page_size),
        va_bits,
        upper=upper,
        owner=Owner(OwnerKind.LINEAR_MAP),
        output=d.PLAIN if va_bits < 52 else d.LPA if page_size == 65536 else d.LPA2,
    )


def _half(tables: PageTables) -> int:
    """First VA after the lower half."""
    return tables.low + (1 << tables.va_bits - 1)


def _registers(tables: PageTables) -> WalkRegisters:
    bits = tables.va_bits
    return WalkRegisters(
        sctlr=1,
        tcr=tcr_el1(
            tables.granule,
            t0_bits=bits,
            t1_bits=bits,
            pa_bits=tables.output.bits,
            ds=tables.output is d.LPA2,
        ),
        ttbr0=tables.root,
        ttbr1=tables.root,
        cpu_bits=tables.output.bits,
    )


def _walk(tables: PageTables, va: int) -> Walk:
    return walk(tables.memory, _registers(tables), va, el=1)


@given(
    geometry=st.sampled_from(GEOMETRIES),
    upper=st.booleans(),
    va_page=st.integers(0, 1 << 36),
    pa_page=st.integers(0, 1 << 36),
    pages=st.integers(1, 20_000),
    same_offset=st.booleans(),
    blocks=st.booleans(),
)
def test_every_mapped_page_and_nothing_else_translates(
    geometry: tuple[int, int],
    upper: bool,
    va_page: int,
    pa_page: int,
    pages: int,
    same_offset: bool,
    blocks: bool,
) -> None:
    page, va_bits = geometry
    tables = _tables(page, va_bits, upper=upper)
    room = (1 << va_bits) // page
    pages = min(pages, room)
    va = tables.low + va_page % (room - pages + 1) * page
    pa_room = (1 << 48) // page
    # Half of the time VA and PA agree modulo the largest block, so that blocks are possible.
    pa = va % (1 << 30) if same_offset else pa_page % (pa_room - pages + 1) * page
    tables.map(va, pa, pages * page, d.KERNEL_RW, blocks=blocks)
    offsets = np.arange(pages, dtype=np.uint64) * np.uint64(page)
    many = walk_many(tables.memory, _registers(tables), np.uint64(va) + offsets, el=1)
    assert (many.fault == -1).all()
    assert (many.pa == np.uint64(pa) + offsets).all()
    assert many.writable.all()
    assert not many.executable.any()
    assert blocks or (many.level == 3).all()
    last = _walk(tables, va + pages * page - 1)
    assert last.pa == pa + pages * page - 1
    for neighbour in (va - 1, va + pages * page):
        if tables.low <= neighbour < tables.high:
            assert _walk(tables, neighbour).fault


@pytest.mark.parametrize(("page", "va_bits"), GEOMETRIES)
def test_the_ends_of_the_range_can_be_mapped(page: int, va_bits: int) -> None:
    for upper in (False, True):
        tables = _tables(page, va_bits, upper=upper)
        for va in (tables.low, tables.high - page):
            tables.map(va, BASE, page, d.KERNEL_RO)
            assert _walk(tables, va + 5).pa == BASE + 5
            assert not _walk(tables, va).writable


@pytest.mark.parametrize(
    ("page", "block", "level"), [(4096, 2 * MIB, 2), (16384, 32 * MIB, 2), (65536, 512 * MIB, 2)]
)
def test_a_block_is_used_where_it_fits_exactly(page: int, block: int, level: int) -> None:
    tables = _tables(page, 48)
    tables.map(tables.low + block, block, block, d.KERNEL_RW)
    result = _walk(tables, tables.low + block + 0x1234)
    assert (result.level, result.size, result.pa) == (level, block, block + 0x1234)


def test_blocks_begin_and_end_where_alignment_lets_them() -> None:
    tables = _tables(4096, 48)
    tables.map(tables.low + 2 * MIB - 4096, 2 * MIB - 4096, 1024 * MIB + 8192, d.KERNEL_RW)
    levels = [
        _walk(tables, tables.low + va).level
        for va in (2 * MIB - 1, 2 * MIB, 1024 * MIB, 1026 * MIB - 1, 1026 * MIB)
    ]
    assert levels == [3, 2, 2, 2, 3]
    gigabyte = _tables(4096, 48)
    gigabyte.map(gigabyte.low, 0, 4096 * MIB, d.KERNEL_RW)
    assert _walk(gigabyte, gigabyte.low + 3 * 1024 * MIB).level == 1
    assert len(gigabyte.allocator.regions) == 2  # the root and one table of blocks


def test_tables_are_shared_by_neighbours_and_the_ledger_owns_them() -> None:
    tables = _tables(4096, 48)
    tables.map(tables.low, BASE, 4096, d.KERNEL_RW)
    before = len(tables.allocator.regions)
    tables.map(tables.low + 4096, BASE, 4096, d.KERNEL_RW)
    assert len(tables.allocator.regions) == before
    for step in _walk(tables, tables.low).trail:
        owner = tables.allocator.owner(step.table)
        assert owner
        assert owner.owner.kind is OwnerKind.LINEAR_MAP


def test_what_is_mapped_already_is_refused_by_address() -> None:
    tables = _tables(4096, 48)
    tables.map(tables.low, 0, 4 * MIB, d.KERNEL_RW)
    tables.map(tables.low + 8 * MIB + 4096, 0, 4096, d.KERNEL_RW)
    with pytest.raises(MachineError, match="0xffff000000201000 is mapped already, by a block"):
        tables.map(tables.low + 2 * MIB + 4096, 0, 4096, d.KERNEL_RW)
    with pytest.raises(MachineError, match="0xffff000000801000 is mapped already"):
        tables.map(tables.low + 8 * MIB, 0, 16384, d.KERNEL_RW)
    with pytest.raises(MachineError, match="0xffff000000800000 is mapped already"):
        tables.map(tables.low + 8 * MIB, 8 * MIB, 2 * MIB, d.KERNEL_RW)


@pytest.mark.parametrize(
    ("va", "pa", "size"),
    [
        (SPACE - (1 << 39) + 1, 0, 4096),
        (SPACE - (1 << 39), 1, 4096),
        (SPACE - (1 << 39), 0, 4095),
        (SPACE - (1 << 39), 0, -4096),
        (SPACE - (1 << 39) - 4096, 0, 8192),
        (SPACE - 4096, 0, 8192),
        (0, 0, 4096),
        (SPACE - (1 << 39), (1 << 48) - 4096, 8192),
        (SPACE - (1 << 39), -4096, 4096),
    ],
)
def test_what_does_not_fit_is_refused(va: int, pa: int, size: int) -> None:
    tables = _tables(4096, 39)
    with pytest.raises(MachineError, match="linear map copy:"):
        tables.map(va, pa, size, d.KERNEL_RW)


def test_nothing_mapped_is_nothing_done() -> None:
    tables = _tables(4096, 48)
    tables.map(tables.low, 0, 0, d.KERNEL_RW)
    assert len(tables.allocator.regions) == 1


def test_too_little_ram_for_tables_is_a_message() -> None:
    tables = _tables(4096, 48, ram=64 << 10)
    with pytest.raises(MachineError, match="linear map copy level 3: no room"):
        tables.map(tables.low, 0, 1 << 30, d.KERNEL_RW, blocks=False)


def test_idmap_is_readable_and_executable_at_its_own_address() -> None:
    tables = _tables(4096, 48, upper=False)
    tables.idmap(BASE + 0x5000, 4096)
    result = _walk(tables, BASE + 0x5010)
    assert (result.pa, result.writable, result.executable) == (BASE + 0x5010, False, True)
    # The leaf that shipped kernels write: AF, read-only, inner shareable, UXN, software-dirty.
    assert result.trail[-1].descriptor == BASE + 0x5000 | 0x0080_0000_0000_0000 | 1 << 54 | 0x783


@pytest.mark.parametrize(("page", "va_bits"), GEOMETRIES)
@pytest.mark.parametrize("blocks", [False, True])
def test_the_linear_map_is_all_of_ram_but_for_the_kernels_text(
    page: int, va_bits: int, blocks: bool
) -> None:
    tables = _tables(page, va_bits, ram=64 * MIB)
    text = (BASE + 2 * MIB, 4 * MIB + page)
    map_linear(tables, tables.low, _half(tables), BASE - 64 * MIB, read_only=[text], blocks=blocks)
    offsets = np.arange(0, 64 * MIB, page, dtype=np.uint64)
    vas = np.uint64(tables.low + 64 * MIB) + offsets
    many = walk_many(tables.memory, _registers(tables), vas, el=1)
    pas = np.uint64(BASE) + offsets
    assert (many.pa == pas).all()
    assert not many.executable.any()
    inside = (pas >= text[0]) & (pas < text[0] + text[1])
    assert (many.writable == ~inside).all()
    assert (many.level[inside] == 3).all()
    assert (many.attr_index == d.NORMAL).all()
    if blocks and page == 4096:
        assert many.level[-1] == 2
    assert _walk(tables, tables.low + 64 * MIB - 1).fault
    assert _walk(tables, tables.low + 128 * MIB).fault


def test_ram_that_the_linear_map_cannot_hold_is_refused() -> None:
    tables = _tables(16384, 36)
    with pytest.raises(MachineError, match="does not fit a linear map"):
        map_linear(tables, tables.low, _half(tables), BASE - (1 << 35))
    with pytest.raises(MachineError, match="does not fit a linear map"):
        map_linear(tables, tables.low, _half(tables), BASE + 16384)
    for ranges in ([(BASE - 16384, 16384)], [(BASE, 32768), (BASE + 16384, 16384)]):
        with pytest.raises(MachineError, match="read-only range"):
            map_linear(_tables(16384, 36), tables.low, _half(tables), BASE, read_only=ranges)


def _section(name: str, va: int, size: int) -> PlacedSection:
    return PlacedSection(
        name, va, va, size, 8, SectionType.PROGBITS, SectionFlag.ALLOC, bytes(size)
    )


def test_the_kernels_own_mapping_follows_its_segments() -> None:
    tables = _tables(4096, 48)
    va = SPACE - (1 << 47) + 128 * MIB
    image = Image(
        name="kernel",
        sections=(
            _section(".text", va, 0x1800),
            _section(".rodata", va + 0x2000, 0x10),
            _section(".data", va + 0x3000, 0x1001),
            _section(".note", 0, 0x10),
        ),
        segments=(
            Segment("text", 1, SegmentFlag.R | SegmentFlag.X, (0,), 4096),
            Segment("rodata", 1, SegmentFlag.R, (1,), 4096),
            Segment("data", 1, SegmentFlag.R | SegmentFlag.W, (2,), 4096),
            Segment("notes", 4, SegmentFlag.R, (3,), 4),
        ),
        symbols=(),
        entry=va,
    )
    map_image(tables, image, BASE + 2 * MIB)
    rights = {
        offset: (result.pa, result.writable, result.executable)
        for offset in (0, 0x1000, 0x2000, 0x3000, 0x4000)
        for result in [_walk(tables, va + offset)]
    }
    load = BASE + 2 * MIB
    assert rights == {
        0: (load, False, True),
        0x1000: (load + 0x1000, False, True),
        0x2000: (load + 0x2000, False, False),
        0x3000: (load + 0x3000, True, False),
        0x4000: (load + 0x4000, True, False),
    }
    assert _walk(tables, va + 0x5000).fault
    with pytest.raises(MachineError, match="mapped already"):
        map_image(tables, image, load)
