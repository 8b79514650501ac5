"""TLBI by VA forgets all of a page or block, however many entries of the engine hold it."""

from __future__ import annotations

import pytest

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import granule_of, tcr_el1
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables

RAM, CODE = 0x4000_0000, 0x4010_0000
VA = 0x2_0000_0000
OLD, NEW = 0x4040_0000, 0x4060_0000
MIB = 1 << 20


@pytest.mark.parametrize("form", ["vae1", "vaae1", "vale1", "vaale1", "vae1is", "vmalle1"])
@pytest.mark.parametrize(
    ("page", "size", "offset"),
    [
        (4096, 4096, 0x800),
        (4096, 2 * MIB, 0x12_3000),
        (16384, 16384, 0x2000),
        (65536, 65536, 0xF000),
    ],
)
def test_the_last_part_of_a_page_is_forgotten_with_the_first(
    bench: object, page: int, size: int, offset: int, form: str
) -> None:
    b = bench("max")  # type: ignore[operator]
    allocator = PageAllocator(b.memory, page)
    allocator.reserve(destination(0, "data"), RAM, 0x20_0000)
    allocator.reserve(destination(0, "moved"), OLD, 0x40_0000)
    owner = destination(0, "tables")
    tables = PageTables(b.memory, allocator, granule_of(page), 48, upper=False, owner=owner)
    tables.map(CODE, CODE, 0x1_0000, d.KERNEL_RX, blocks=False)
    tables.map(VA, OLD, size, d.KERNEL_RW)
    tables.map(RAM + 0x80_0000, RAM + 0x80_0000, 0x40_0000, d.KERNEL_RW, blocks=False)
    for name, value in (
        ("TCR_EL1", tcr_el1(granule_of(page), t0_bits=48, t1_bits=48, pa_bits=40)),
        ("TTBR0_EL1", tables.root),
        ("MAIR_EL1", d.MAIR),
        ("SCTLR_EL1", 0x3050_0801),
    ):
        b.cpu.write(name, value)
    step = b.cpu.walk(VA).trail[-1]
    b.memory.write_u64(OLD + offset, 0x01D)
    b.memory.write_u64(NEW + offset, 0x2E3)
    entry_va = step.entry
    if not b.cpu.walk(entry_va).pa:
        tables.map(entry_va // page * page, entry_va // page * page, page, d.KERNEL_RW)
    b.cpu.set_x(0, VA + offset)
    b.cpu.set_x(1, entry_va)
    b.cpu.set_x(2, step.descriptor - OLD + NEW)
    b.cpu.set_x(3, VA >> 12)
    operand = "" if form.startswith("vm") else ", x3"
    stop = b.run(
        f"ldr x4, [x0]\nstr x2, [x1]\ndsb ish\ntlbi {form}{operand}\ndsb ish\nisb\nldr x5, [x0]"
    )
    assert stop.exceptions == 0
    assert (b.cpu.x(4), b.cpu.x(5)) == (0x01D, 0x2E3)
