"""The walk, fault by fault and regime by regime, over tables written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch import geometry as g
from relokit.runtime.arch.geometry import granule_of, tcr_el1, tcr_el2
from relokit.runtime.arch.translation import SCTLR_WXN, WalkRegisters
from relokit.runtime.arch.walker import Access, Fault, FaultKind, Walk, fault_of, walk, walk_many
from relokit.runtime.guest.memory import GuestMemory

BASE = 0x4000_0000
SPACE = 1 << 64
VA = SPACE - (1 << 39) + 0x4020_3000  # L1[1], L2[1], L3[3]
L1, L2, L3, PAGE = BASE + 0x1000, BASE + 0x2000, BASE + 0x3000, BASE + 0x8000
TCR = tcr_el1(granule_of(4096), t0_bits=39, t1_bits=39, pa_bits=48)
REGS = WalkRegisters(sctlr=1, tcr=TCR, ttbr0=0, ttbr1=L1)


@pytest.fixture(name="memory")
def _memory() -> GuestMemory:
    """Three tables that lead from VA to PAGE, writable, not executable."""
    memory = GuestMemory(BASE, 1 << 20)
    memory.write_u64(L1 + 8 * 1, L2 | d.TABLE)
    memory.write_u64(L2 + 8 * 1, L3 | d.TABLE)
    memory.write_u64(L3 + 8 * 3, PAGE | d.KERNEL_RW | d.PAGE)
    return memory


def _both(memory: GuestMemory, regs: WalkRegisters, va: int, el: int = 1) -> Walk:
    """The walk, after checking that walk_many says the same of it."""
    one = walk(memory, regs, va, el=el)
    many = walk_many(memory, regs, np.array([va], dtype=np.uint64), el=el)
    assert int(many.pa[0]) == (one.pa or 0)
    assert fault_of(int(many.fault[0])) == one.fault
    assert (bool(many.writable[0]), bool(many.executable[0])) == (one.writable, one.executable)
    assert int(many.level[0]) == one.level
    assert int(many.attr_index[0]) == (-1 if one.attr_index is None else one.attr_index)
    return one


def test_a_walk_tells_where_it_went(memory: GuestMemory) -> None:
    result = _both(memory, REGS, VA + 0xABC)
    assert (result.pa, result.level, result.size) == (PAGE + 0xABC, 3, 4096)
    assert [(step.level, step.table, step.entry) for step in result.trail] == [
        (1, L1, L1 + 8),
        (2, L2, L2 + 8),
        (3, L3, L3 + 24),
    ]
    assert result.mair_byte == 0xFF
    assert str(result).splitlines() == [
        f"VA {VA + 0xABC:#x}: PA {PAGE + 0xABC:#x}",
        f"  L1 {L1 + 8:#x}: table {L2:#x}",
        f"  L2 {L2 + 8:#x}: table {L3:#x}",
        f"  L3 {L3 + 24:#x}: page {PAGE:#x} RW PXN UXN attr 0",
    ]


@pytest.mark.parametrize(
    ("entry", "value", "kind", "level"),
    [
        (L1 + 8, 0, FaultKind.TRANSLATION, 1),
        (L1 + 8, L2 | 0b10, FaultKind.TRANSLATION, 1),
        (L2 + 8, 0, FaultKind.TRANSLATION, 2),
        (L3 + 24, 0, FaultKind.TRANSLATION, 3),
        (L3 + 24, PAGE | d.KERNEL_RW | d.BLOCK, FaultKind.TRANSLATION, 3),
        (L3 + 24, PAGE | d.KERNEL_RW & ~d.AF | d.PAGE, FaultKind.ACCESS_FLAG, 3),
        (L2 + 8, d.KERNEL_RW & ~d.AF | d.BLOCK, FaultKind.ACCESS_FLAG, 2),
        (L1 + 8, (BASE - 4096) | d.TABLE, FaultKind.EXTERNAL_ABORT_ON_WALK, 2),
        (L2 + 8, (BASE + (1 << 20)) | d.TABLE, FaultKind.EXTERNAL_ABORT_ON_WALK, 3),
    ],
)
def test_every_fault_has_its_kind_and_level(
    memory: GuestMemory, entry: int, value: int, kind: FaultKind, level: int
) -> None:
    memory.write_u64(entry, value)
    result = _both(memory, REGS, VA)
    assert result.pa is None
    assert result.fault == Fault(kind, level)
    assert all(result.fault_for(access) == result.fault for access in Access)
    assert f"{kind.text} fault, level {level}" in str(result)


@pytest.mark.parametrize(
    ("kind", "level", "code"),
    [
        # ESR_ELx.DFSC, ARM DDI 0487.
        (FaultKind.ADDRESS_SIZE, 0, 0b000000),
        (FaultKind.ADDRESS_SIZE, 3, 0b000011),
        (FaultKind.TRANSLATION, 0, 0b000100),
        (FaultKind.TRANSLATION, 3, 0b000111),
        (FaultKind.ACCESS_FLAG, 1, 0b001001),
        (FaultKind.PERMISSION, 3, 0b001111),
        (FaultKind.EXTERNAL_ABORT_ON_WALK, 2, 0b010110),
    ],
)
def test_syndrome_codes(kind: FaultKind, level: int, code: int) -> None:
    assert Fault(kind, level).code == code
    assert fault_of(code) == Fault(kind, level)


@pytest.mark.parametrize("code", [-1, 0b010000, 0b100001, 0b110000])
def test_codes_that_no_walk_gives(code: int) -> None:
    assert fault_of(code) is None


def test_an_output_beyond_ips_is_an_address_size_fault(memory: GuestMemory) -> None:
    narrow = replace(REGS, tcr=TCR & ~(7 << g.IPS))  # 32 bits
    assert _both(memory, narrow, VA).pa == PAGE
    memory.write_u64(L3 + 24, 1 << 32 | d.KERNEL_RW | d.PAGE)
    assert _both(memory, narrow, VA).fault == Fault(FaultKind.ADDRESS_SIZE, 3)
    assert _both(memory, REGS, VA).pa == 1 << 32
    memory.write_u64(L1 + 8, 1 << 32 | d.TABLE)
    assert _both(memory, narrow, VA).fault == Fault(FaultKind.ADDRESS_SIZE, 1)
    assert _both(memory, REGS, VA).fault == Fault(FaultKind.EXTERNAL_ABORT_ON_WALK, 2)
    far = replace(narrow, ttbr1=1 << 32)
    assert _both(memory, far, VA).fault == Fault(FaultKind.ADDRESS_SIZE, 0)


def test_the_address_must_be_in_a_range(memory: GuestMemory) -> None:
    beyond = Fault(FaultKind.TRANSLATION, 0)
    for va in (VA - (1 << 39), VA & ~(1 << 40), VA & ~(1 << 63), 1 << 39, 1 << 54):
        assert _both(memory, REGS, va).fault == beyond
    lower = replace(REGS, ttbr0=L1, ttbr1=0)
    assert _both(memory, lower, VA & (1 << 39) - 1).pa == PAGE


def test_tbi_ignores_the_top_byte_and_epd_closes_the_range(memory: GuestMemory) -> None:
    tagged = VA & ~(0xFF << 56) | 0x5A << 56
    assert _both(memory, REGS, tagged).fault
    assert _both(memory, replace(REGS, tcr=TCR | 1 << g.TBI0), tagged).fault
    assert _both(memory, replace(REGS, tcr=TCR | 1 << g.TBI1), tagged).pa == PAGE
    assert _both(memory, replace(REGS, tcr=TCR | 1 << g.EPD0), VA).pa == PAGE
    closed = _both(memory, replace(REGS, tcr=TCR | 1 << g.EPD1), VA)
    assert (closed.fault, closed.trail) == (Fault(FaultKind.TRANSLATION, 0), ())


@pytest.mark.parametrize("extra", [1, 0x1234 << 48, 0x800, 0x40])
def test_asid_cnp_and_bits_below_the_tables_size_are_ignored(
    memory: GuestMemory, extra: int
) -> None:
    assert _both(memory, replace(REGS, ttbr1=L1 | extra), VA).pa == PAGE


def test_a_small_first_table_needs_little_alignment(memory: GuestMemory) -> None:
    # 31 bits leave two entries at level 1; the table may lie at any multiple of 64 bytes.
    memory.write_u64(BASE + 0x7C0 + 8, L2 | d.TABLE)
    tcr = tcr_el1(granule_of(4096), t0_bits=31, t1_bits=31, pa_bits=48)
    regs = replace(REGS, tcr=tcr, ttbr1=BASE + 0x7C0)
    assert _both(memory, regs, SPACE - (1 << 31) + 0x4020_3000).pa == PAGE


@pytest.mark.parametrize(
    ("leaf", "table", "wxn", "writable", "executable"),
    [
        (d.KERNEL_RW, 0, False, True, False),
        (d.KERNEL_RO, 0, False, False, False),
        (d.KERNEL_RX, 0, False, False, True),
        (d.KERNEL_RW & ~d.PXN, 0, False, True, True),
        (d.KERNEL_RW & ~d.PXN, 0, True, True, False),
        (d.KERNEL_RX, 0, True, False, True),
        (d.KERNEL_RX, d.TABLE_PXN, False, False, False),
        (d.KERNEL_RX, d.TABLE_UXN, False, False, True),
        (d.KERNEL_RW, d.TABLE_AP_READ_ONLY, False, False, False),
        (d.KERNEL_RW & ~d.PXN | d.AP_EL0, 0, False, True, False),
        (d.KERNEL_RW & ~d.PXN | d.AP_EL0, d.TABLE_AP_NO_EL0, False, True, True),
        (d.KERNEL_RX | d.AP_EL0, 0, False, False, True),
    ],
)
@pytest.mark.parametrize("entry", [(L1 + 8, L2), (L2 + 8, L3)])
def test_permissions_at_el1(
    memory: GuestMemory,
    entry: tuple[int, int],
    leaf: int,
    table: int,
    wxn: bool,
    writable: bool,
    executable: bool,
) -> None:
    memory.write_u64(L3 + 24, PAGE | leaf | d.PAGE)
    memory.write_u64(entry[0], entry[1] | d.TABLE | table)
    result = _both(memory, replace(REGS, sctlr=1 | SCTLR_WXN * wxn), VA)
    assert (result.writable, result.executable) == (writable, executable)
    denied = Fault(FaultKind.PERMISSION, 3)
    assert result.fault_for(Access.READ) is None
    assert result.fault_for(Access.WRITE) == (None if writable else denied)
    assert result.fault_for(Access.EXECUTE) == (None if executable else denied)
    free = replace(REGS, sctlr=1, tcr=TCR | 1 << g.HPD1)
    assert _both(memory, free, VA).writable == (not leaf & d.AP_READ_ONLY)


def test_software_dirty_does_not_make_a_page_writable(memory: GuestMemory) -> None:
    # Without hardware dirty management, DBM and the software bit are nothing to the walk.
    memory.write_u64(L3 + 24, PAGE | d.KERNEL_RO | d.WRITE | d.SOFTWARE_DIRTY | d.PAGE)
    assert _both(memory, REGS, VA).fault_for(Access.WRITE) == Fault(FaultKind.PERMISSION, 3)


def test_el2_with_e2h_has_two_ranges_and_without_it_one(memory: GuestMemory) -> None:
    vhe = replace(REGS, e2h=True)
    assert _both(memory, vhe, VA, el=2).pa == PAGE
    low = VA & (1 << 39) - 1
    tcr = tcr_el2(granule_of(4096), va_bits=39, pa_bits=40)
    nvhe = WalkRegisters(sctlr=1, tcr=tcr, ttbr0=L1)
    assert _both(memory, nvhe, low, el=2).pa == PAGE
    for va in (VA, low | 1 << 55, low | 1 << 39, low | 0xFF << 56):
        assert _both(memory, nvhe, va, el=2).fault == Fault(FaultKind.TRANSLATION, 0)
    tagged = replace(nvhe, tcr=tcr | 1 << g.EL2_TBI)
    assert _both(memory, tagged, low | 0xFF << 56, el=2).pa == PAGE
    # TCR_EL2.PS lies elsewhere than TCR_EL1.IPS.
    memory.write_u64(L3 + 24, 1 << 39 | d.KERNEL_RW | d.PAGE)
    assert _both(memory, nvhe, low, el=2).pa == 1 << 39
    memory.write_u64(L3 + 24, 1 << 40 | d.KERNEL_RW | d.PAGE)
    assert _both(memory, nvhe, low, el=2).fault == Fault(FaultKind.ADDRESS_SIZE, 3)


def test_el2_without_e2h_has_one_execute_never_bit(memory: GuestMemory) -> None:
    nvhe = WalkRegisters(sctlr=1, tcr=tcr_el2(granule_of(4096), va_bits=39, pa_bits=48), ttbr0=L1)
    low = VA & (1 << 39) - 1
    for leaf, table, executable in (
        (d.PXN, 0, True),
        (d.XN_EL2, 0, False),
        (0, d.TABLE_PXN, True),
        (0, d.TABLE_XN_EL2, False),
        (d.AP_EL0, 0, True),
    ):
        memory.write_u64(L3 + 24, PAGE | d.AF | leaf | d.PAGE)
        memory.write_u64(L2 + 8, L3 | d.TABLE | table)
        result = _both(memory, nvhe, low, el=2)
        assert (result.writable, result.executable) == (True, executable)


def test_with_the_mmu_off_an_address_is_itself(memory: GuestMemory) -> None:
    off = replace(REGS, sctlr=0x3050_0800)
    result = _both(memory, off, BASE + 5)
    assert (result.pa, result.trail, result.attr_index) == (BASE + 5, (), None)
    assert result.fault_for(Access.WRITE) is None
    assert result.fault_for(Access.EXECUTE) is None
    assert _both(memory, off, 1 << 48).fault == Fault(FaultKind.ADDRESS_SIZE, 0)
    assert _both(memory, off, VA).fault == Fault(FaultKind.ADDRESS_SIZE, 0)


@pytest.mark.parametrize(
    ("page", "level", "fault"),
    [
        (4096, 0, True),
        (4096, 1, False),
        (4096, 2, False),
        (16384, 1, True),
        (16384, 2, False),
        (65536, 1, True),
        (65536, 2, False),
    ],
)
def test_blocks_exist_at_some_levels_only(page: int, level: int, fault: bool) -> None:
    memory = GuestMemory(BASE, 1 << 20)
    granule = granule_of(page)
    table = BASE
    for at in range(granule.start_level(48), level):
        del at
        memory.write_u64(table, (table + page) | d.TABLE)
        table += page
    memory.write_u64(table, d.KERNEL_RW | d.BLOCK)
    regs = WalkRegisters(1, tcr_el1(granule, t0_bits=48, t1_bits=48, pa_bits=48), ttbr0=BASE)
    result = _both(memory, regs, 0x1234)
    assert result.fault == (Fault(FaultKind.TRANSLATION, level) if fault else None)


def test_bits_below_a_block_take_no_part(memory: GuestMemory) -> None:
    memory.write_u64(L2 + 8, 0x1_2345_6000 | d.KERNEL_RW | d.BLOCK)
    assert _both(memory, REGS, VA).pa == 0x1_2340_0000 | 0x3000


def test_a_mixed_array_is_taken_apart_and_put_together_in_order(memory: GuestMemory) -> None:
    regs = replace(REGS, ttbr0=L1)
    low = VA & (1 << 39) - 1
    vas = np.array([VA, 0, low + 1, 1 << 45, VA + 2, VA + 4096], dtype=np.uint64)
    many = walk_many(memory, regs, vas, el=1)
    assert many.pa.tolist() == [PAGE, 0, PAGE + 1, 0, PAGE + 2, 0]
    assert many.fault.tolist() == [-1, 0b000101, -1, 0b000100, -1, 0b000111]
    empty = walk_many(memory, regs, np.empty(0, dtype=np.uint64), el=1)
    assert len(empty.pa) == 0


@pytest.mark.parametrize(
    ("descriptor", "level", "text"),
    [
        (0, 3, "invalid (0x0)"),
        (0x5001, 3, "reserved (0x5001)"),
        (0x5003 | d.TABLE_PXN | d.TABLE_UXN, 2, "table 0x5000 PXNTable UXNTable"),
        (
            0x5003 | d.TABLE_AP_NO_EL0 | d.TABLE_AP_READ_ONLY,
            1,
            "table 0x5000 no EL0 read-only",
        ),
        (0x20_0001 | d.AP_READ_ONLY | d.NG, 2, "block 0x200000 RO nG AF clear attr 0"),
        (0x5003 | d.DEVICE_RW | d.AP_EL0, 3, "page 0x5000 RW EL0 PXN UXN attr 4"),
    ],
)
def test_descriptors_in_words(descriptor: int, level: int, text: str) -> None:
    assert d.describe(descriptor, level) == text


@pytest.mark.parametrize(
    ("byte", "name"), [(0xFF, "normal"), (0x44, "normal-nc"), (0x00, "device"), (0x04, "device")]
)
def test_memory_types(byte: int, name: str) -> None:
    assert d.memory_type(byte) == name


def test_mair_holds_its_bytes_at_their_indices() -> None:
    assert d.MAIR == 0x04_00_44_FF_FF
