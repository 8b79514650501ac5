"""A machine whose pages have every fault there is, at each level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import DELIVER
from relokit.runtime.arch.geometry import granule_of, tcr_el1, tcr_el2
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.stop import StopReason

RAM, CODE, VECTORS = 0x4000_0000, 0x4010_0000, 0x4020_0000
PAGES = 0x1_0000_0000
GOOD, UNMAPPED, READ_ONLY, NO_AF, TOO_BIG, NEVER_X, USER, DEVICE, FOR_EL0, NOWHERE = (
    PAGES + 0x1000 * index for index in range(10)
)
BAD_TABLE = PAGES + 0x4000_0000
BEHIND = RAM + 0x8_0000
SCTLR = 0x3050_1801 | 1 << 23  # MMU on, SPAN
RX = d.NORMAL << 2 | d.SH_INNER | d.AF | d.AP_READ_ONLY | d.AP_EL0
HCR_RW, HCR_E2H, HCR_TGE = 1 << 31, 1 << 34, 1 << 27
UAO = 1 << 23
SET_PAN, LDADD = ".long 0xd500419f", ".long 0xf8220003"  # MSR PAN, #1; LDADD X2, X3, [X0]
IL, WNR, CM = 1 << 25, 1 << 6, 1 << 8
MakeBench = Callable[..., Any]


@dataclass(frozen=True)
class Where:
    """A level, the regime it translates by, and the level and vector that aborts go to."""

    el: int
    hcr: int
    target: int
    vector: int

    @property
    def lower(self) -> bool:
        return self.el < self.target


HOST = HCR_RW | HCR_E2H | HCR_TGE
LEVELS = {
    "EL1": Where(1, HCR_RW, 1, 0x200),
    "EL2": Where(2, HCR_RW, 2, 0x200),
    "EL2&0": Where(2, HOST, 2, 0x200),
    "EL0": Where(0, HCR_RW, 1, 0x400),
    "EL0 of a host": Where(0, HOST, 2, 0x400),
}
HOSTS = [LEVELS["EL1"], LEVELS["EL2&0"]]
each_level = pytest.mark.parametrize("where", LEVELS.values(), ids=LEVELS)


def mmu_bench(bench: MakeBench, where: Where) -> Any:
    b = bench("max")
    b.cpu.policy = DELIVER
    allocator = PageAllocator(b.memory, 4096)
    for name, base in (("data", RAM), ("code", CODE), ("vectors", VECTORS)):
        allocator.reserve(destination(0, name), base, 0x10_0000)
    owner = destination(0, "tables")
    tables = PageTables(b.memory, allocator, granule_of(4096), 48, upper=False, owner=owner)
    tables.map(CODE, CODE, 0x1_0000, RX, blocks=False)
    tables.map(VECTORS, VECTORS, 0x1000, RX, blocks=False)
    # Above EL0 data is privileged; there, EL0 has it.
    el0 = d.AP_EL0 if where.el == 0 else 0
    kernel = d.KERNEL_RW | el0
    tables.map(GOOD, BEHIND, 0xA000, kernel, blocks=False)
    tables.map(BAD_TABLE, BEHIND, 0x1000, kernel, blocks=False)
    b.cpu.write("HCR_EL2", where.hcr)
    regime = where.target
    if where.hcr == HCR_RW and where.el == 2:
        tcr = tcr_el2(granule_of(4096), va_bits=48, pa_bits=40)
    else:
        tcr = tcr_el1(granule_of(4096), t0_bits=48, t1_bits=48, pa_bits=40)
    for name, value in (
        ("TCR", tcr),
        ("TTBR0", tables.root),
        ("MAIR", d.MAIR),
        ("VBAR", VECTORS),
        ("SCTLR", SCTLR),
    ):
        b.cpu.write(f"{name}_EL{regime}", value)
    for va, change in (
        (UNMAPPED, lambda word: 0),
        (READ_ONLY, lambda word: word | d.AP_READ_ONLY),
        (NO_AF, lambda word: word & ~d.AF),
        (TOO_BIG, lambda word: word | 1 << 41),
        (USER, lambda word: word | d.AP_EL0),
        (DEVICE, lambda word: word | d.DEVICE_NGNRE << 2),
        (FOR_EL0, lambda word: RX | word & ~0xFFF & (1 << 48) - 1 | 3),
        (NOWHERE, lambda word: word & ~((1 << 48) - 1 ^ 0xFFF) | 0x7000_0000),
    ):
        leaf(b, va, regime, change)
    entry = b.cpu.walk(BAD_TABLE, regime).trail[-2].entry
    b.memory.write_u64(entry, 0x9000_0000 | 3)
    for offset in range(0, 0x800, 0x80):
        b.load("wfi", VECTORS + offset)
    b.cpu.set_el(where.el)
    return b


def leaf(b: Any, va: int, el: int, change: Callable[[int], int]) -> None:
    step = b.cpu.walk(va, el).trail[-1]
    b.memory.write_u64(step.entry, change(step.descriptor))


def aborted(b: Any, where: Where, esr: int, far: int, elr: int, completed: int) -> None:
    """The abort was delivered exactly, and its handler entered."""
    cpu, el = b.cpu, where.target
    assert hex(cpu.read(f"ESR_EL{el}")) == hex(esr)
    assert hex(cpu.read(f"FAR_EL{el}")) == hex(far)
    assert hex(cpu.read(f"ELR_EL{el}")) == hex(elr)
    assert cpu.read(f"SPSR_EL{el}") & 0xF == (where.el << 2 | (where.el > 0))
    assert (cpu.pc, cpu.el) == (VECTORS + where.vector + 4, el)
    assert b.stop.instructions == completed + 1  # the handler's WFI
    assert (b.stop.reason, b.stop.exceptions) == (StopReason.HALTED, 1)


def ran(b: Any, text: str, **x: int) -> None:
    for name, value in x.items():
        b.cpu.set_x(int(name[1:]), value)
    b.stop = b.run(text)


def map_one(b: Any, va: int, pa: int) -> None:
    """Map ``va``, whose level 2 table entry is free, by a table made in the data."""
    table = RAM + 0xF_0000
    entry = b.cpu.walk(va, 1).trail[-1].entry
    b.memory.write_u64(entry, table | 3)
    b.memory.write_u64(table + 8 * (va >> 12 & 511), pa | d.KERNEL_RW | 3)
