"""52-bit addresses: descriptor formats, TTBR, and walks that use them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch import geometry as g
from relokit.runtime.arch.geometry import GRANULES, granule_of, tcr_el1, tcr_el2
from relokit.runtime.arch.translation import WalkRegisters, table_range, to_ttbr
from relokit.runtime.arch.walker import Fault, FaultKind, Walk, fault_of, walk, walk_many
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables

OWNER = destination(0, "t")
SPACE = 1 << 64
FAR = 0xA_8000 << 32  # bits 51, 49 and 47
SIZE = 4 << 20
FORMATS = {4096: d.LPA2, 16384: d.LPA2, 65536: d.LPA}
PAGES = sorted(GRANULES)


def _regs(page: int, root: int, va_bits: int = 52, **changes: object) -> WalkRegisters:
    tcr = tcr_el1(granule_of(page), t0_bits=va_bits, t1_bits=va_bits, pa_bits=52, ds=page != 65536)
    regs = WalkRegisters(1, tcr, ttbr0=to_ttbr(root, 52), ttbr1=to_ttbr(root, 52), cpu_bits=52)
    return replace(regs, **changes)  # type: ignore[arg-type]


def _both(memory: GuestMemory, regs: WalkRegisters, va: int, el: int = 1) -> Walk:
    """The walk, after checking that walk_many says the same of it."""
    one = walk(memory, regs, va, el=el)
    many = walk_many(memory, regs, np.array([va], dtype=np.uint64), el=el)
    assert (int(many.pa[0]), int(many.level[0])) == (one.pa or 0, one.level)
    assert fault_of(int(many.fault[0])) == one.fault
    assert (bool(many.writable[0]), bool(many.executable[0])) == (one.writable, one.executable)
    return one


@given(pa=st.integers(0, (1 << 40) - 1).map(lambda frame: frame << 12))
def test_formats_hold_addresses_as_shipped_kernels_fold_them(pa: int) -> None:
    # 6.12's and 7.2's own arithmetic, read out of their code: with 4 KiB pages ...
    assert d.LPA2.encode(pa) == (pa | pa >> 42) & 0x0003_FFFF_FFFF_FF00 & ~0xC00
    assert to_ttbr(pa, 52) == (pa | pa >> 46) & 0x0000_FFFF_FFFF_FFFC
    assert to_ttbr(pa, 48) == pa
    # ... and with 64 KiB pages: the nibble above bit 48 comes to bit 12 (DDI 0487, D8.3).
    wide = pa & ~0xFFFF
    assert d.LPA.encode(wide) == wide & (1 << 48) - 1 | wide >> 48 << 12


@given(
    pas=st.lists(st.integers(0, (1 << 52) - 1), min_size=1),
    form=st.sampled_from([d.PLAIN, d.LPA, d.LPA2]),
)
def test_what_a_format_encodes_it_decodes(pas: list[int], form: d.AddressFormat) -> None:
    kept = [pa & (form.in_place | form.moved) for pa in pas]
    assert [form.decode(form.encode(pa)) for pa in pas] == kept
    words = np.array(pas, dtype=np.uint64)
    assert form.encode(words).tolist() == [form.encode(pa) for pa in pas]
    assert form.decode(form.encode(words)).tolist() == kept
    assert form.bits == max(form.in_place | form.moved, 1).bit_length()


def test_shareability_is_tcrs_where_its_bits_are_the_addresss() -> None:
    assert d.LPA2.attributes(d.KERNEL_RW) == d.KERNEL_RW & ~(3 << 8)
    assert d.LPA.attributes(d.KERNEL_RW) == d.PLAIN.attributes(d.KERNEL_RW) == d.KERNEL_RW


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("page", PAGES)
def test_tables_above_48_bits_lead_to_pages_above_48_bits(page: int, upper: bool) -> None:
    """Tables and pages at PAs with bits 51, 49 and 47 set, at both ends of a 52-bit range."""
    memory = GuestMemory(FAR, SIZE)
    allocator = PageAllocator(memory, page)
    tables = PageTables(
        memory, allocator, granule_of(page), 52, upper=upper, owner=OWNER, output=FORMATS[page]
    )
    last = tables.high - page
    tables.map(tables.low, FAR + 4 * page, page, d.KERNEL_RW)
    tables.map(last, (1 << 52) - page, page, d.KERNEL_RX)
    regs = _regs(page, tables.root)
    first = _both(memory, regs, tables.low + 0xABC)
    assert (first.pa, first.writable, first.level) == (FAR + 4 * page + 0xABC, True, 3)
    assert [step.level for step in first.trail] == list(range(first.trail[0].level, 4))
    assert first.trail[0].level == {4096: -1, 16384: 0, 65536: 1}[page]
    assert first.trail[0].table == tables.root
    assert f"page {FAR + 4 * page:#x} RW" in str(first)
    end = _both(memory, regs, last)
    assert (end.pa, end.executable) == ((1 << 52) - page, True)


@given(
    page=st.sampled_from(PAGES),
    va_bits=st.integers(25, 52),
    wide=st.booleans(),
    upper=st.booleans(),
    data=st.data(),
)
def test_every_size_of_range_translates_what_is_mapped(
    page: int, va_bits: int, wide: bool, upper: bool, data: st.DataObject
) -> None:
    wide |= va_bits > 48
    pa_bits = 52 if wide else 48
    memory = GuestMemory(0x4000_0000, SIZE)
    output = FORMATS[page] if wide else d.PLAIN
    tables = PageTables(
        memory,
        PageAllocator(memory, page),
        granule_of(page),
        va_bits,
        upper=upper,
        owner=OWNER,
        output=output,
    )
    va = tables.low + data.draw(st.integers(0, (1 << va_bits) // page - 1)) * page
    pa = data.draw(st.integers(0, (1 << pa_bits) // page - 1)) * page
    tables.map(va, pa, page, d.KERNEL_RW)
    tcr = tcr_el1(
        granule_of(page),
        t0_bits=va_bits,
        t1_bits=va_bits,
        pa_bits=pa_bits,
        ds=wide and page != 65536,
    )
    root = to_ttbr(tables.root, pa_bits)
    regs = WalkRegisters(1, tcr, ttbr0=root, ttbr1=root, cpu_bits=pa_bits)
    assert _both(memory, regs, va + page - 1).pa == pa + page - 1


def test_faults_of_the_level_above_the_first() -> None:
    """ESR_ELx.DFSC, ARM DDI 0487: level -1 has codes of its own."""
    for kind, code in (
        (FaultKind.ADDRESS_SIZE, 0b101001),
        (FaultKind.TRANSLATION, 0b101011),
        (FaultKind.EXTERNAL_ABORT_ON_WALK, 0b010011),
    ):
        assert Fault(kind, -1).code == code
        assert fault_of(code) == Fault(kind, -1)
    memory = GuestMemory(0x4000_0000, SIZE)
    regs = _regs(4096, 0x4000_0000)
    assert _both(memory, regs, 0).fault == Fault(FaultKind.TRANSLATION, -1)
    memory.write_u64(0x4000_0000, 1 << 9 | 0x4000_1000 | d.TABLE)  # OA bit 51
    narrow = replace(regs, tcr=regs.tcr & ~(7 << g.IPS) | 5 << g.IPS)
    assert _both(memory, narrow, 0).fault == Fault(FaultKind.ADDRESS_SIZE, -1)
    assert _both(memory, regs, 0).fault == Fault(FaultKind.EXTERNAL_ABORT_ON_WALK, 0)
    absent = replace(regs, ttbr0=to_ttbr(FAR, 52))
    assert _both(memory, absent, 0).fault == Fault(FaultKind.EXTERNAL_ABORT_ON_WALK, -1)


@pytest.mark.parametrize("page", PAGES)
def test_a_cpu_without_the_feature_reads_the_same_registers_as_48_bits(page: int) -> None:
    wide = _regs(page, 0x4000_0000)
    narrow = table_range(replace(wide, cpu_bits=48), 1, upper=True)
    assert (narrow.va_bits, narrow.pa_bits, narrow.output) == (48, 48, d.PLAIN)
    full = table_range(wide, 1, upper=True)
    assert (full.va_bits, full.pa_bits, full.output) == (52, 52, FORMATS[page])


@pytest.mark.parametrize("page", [4096, 16384])
def test_without_ds_an_lpa2_cpu_reads_48_bit_tables(page: int) -> None:
    regs = _regs(page, 0x4000_0000)
    plain = table_range(replace(regs, tcr=regs.tcr & ~(1 << g.DS)), 1, upper=False)
    assert (plain.va_bits, plain.pa_bits, plain.output) == (48, 48, d.PLAIN)


def test_ds_lies_elsewhere_in_el2s_own_tcr() -> None:
    tcr = tcr_el2(granule_of(4096), va_bits=52, pa_bits=52)
    regs = WalkRegisters(1, tcr, ttbr0=0, cpu_bits=52)
    assert table_range(regs, 2, upper=False).output is d.PLAIN
    wide = table_range(replace(regs, tcr=tcr | 1 << g.EL2_DS), 2, upper=False)
    assert (wide.va_bits, wide.pa_bits, wide.output) == (52, 52, d.LPA2)
    host = replace(_regs(4096, 0), e2h=True)
    assert table_range(host, 2, upper=True).output is d.LPA2


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("cpu_bits", [48, 52])
def test_larger_blocks_come_with_52_bit_outputs(page: int, cpu_bits: int) -> None:
    memory = GuestMemory(0x4000_0000, SIZE)
    level = granule_of(page).wide_block_level
    start = granule_of(page).start_level(48)
    table = 0x4000_0000
    for _ in range(start, level):
        memory.write_u64(table, (table + page) | d.TABLE)
        table += page
    pa = granule_of(page).span(level) * 2
    memory.write_u64(table, pa | d.AF | d.BLOCK)
    regs = _regs(page, 0x4000_0000, va_bits=48, cpu_bits=cpu_bits)
    result = _both(memory, regs, 0x12345)
    if cpu_bits == 52:
        assert (result.pa, result.level) == (pa + 0x12345, level)
    else:
        assert result.fault == Fault(FaultKind.TRANSLATION, level)


def test_with_the_mmu_off_a_wide_cpu_has_52_bits() -> None:
    memory = GuestMemory(FAR, SIZE)
    off = WalkRegisters(0, 0, ttbr0=0, cpu_bits=52)
    assert _both(memory, off, FAR + 5).pa == FAR + 5
    assert _both(memory, off, 1 << 52).fault == Fault(FaultKind.ADDRESS_SIZE, 0)
    assert _both(memory, replace(off, cpu_bits=48), FAR).fault == Fault(FaultKind.ADDRESS_SIZE, 0)


@given(
    page=st.sampled_from(PAGES),
    tcr_bits=st.integers(0, (1 << 64) - 1),
    words=st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=64),
    vas=st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=8),
    cpu_bits=st.sampled_from([48, 52]),
    el=st.sampled_from([1, 2]),
    e2h=st.booleans(),
)
def test_no_register_and_no_table_makes_the_two_walks_differ(
    page: int,
    tcr_bits: int,
    words: list[int],
    vas: list[int],
    cpu_bits: int,
    el: int,
    e2h: bool,
) -> None:
    memory = GuestMemory(0, SIZE)
    fill = np.array([words[at % len(words)] for at in range(SIZE // 8 // 64)], dtype=np.uint64)
    memory.words[: len(fill)] = fill | np.uint64(d.AF)
    regs = WalkRegisters(1, tcr_bits, ttbr0=0, ttbr1=page, e2h=e2h, cpu_bits=cpu_bits)
    for va in vas:
        for address in (va, va % (1 << 36), SPACE - 1 - va % (1 << 36)):
            _both(memory, regs, address, el)


@pytest.mark.parametrize(("page", "fault"), [(4096, True), (16384, True), (65536, False)])
def test_a_ttbr_is_folded_with_ds_whatever_the_output_size(page: int, fault: bool) -> None:
    """ARM DDI 0487, TTBR0_EL1.BADDR: with 64 KiB pages only where IPS says 52 bits."""
    memory = GuestMemory(0x4000_0000, SIZE)
    regs = _regs(page, 0x4000_0000 | 1 << 51)
    assert _both(memory, regs, 0).fault == Fault(
        FaultKind.EXTERNAL_ABORT_ON_WALK, granule_of(page).start_level(52)
    )
    narrow = replace(regs, tcr=regs.tcr & ~(7 << g.IPS) | 5 << g.IPS)
    wanted = (
        Fault(FaultKind.ADDRESS_SIZE, 0)
        if fault
        else Fault(FaultKind.TRANSLATION, granule_of(page).start_level(52))
    )
    assert _both(memory, narrow, 0).fault == wanted
