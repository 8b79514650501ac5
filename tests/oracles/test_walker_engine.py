"""The walk against Unicorn's own: AT instructions and fetches over the same, partly wild, tables.

What the engine does not check and the architecture asks for (output addresses beyond IPS) is
kept out here and tested by hand in tests/runtime.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import unicorn
from unicorn import arm64_const as arm64

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch import geometry as g
from relokit.runtime.arch.geometry import tcr_el1, tcr_el2
from relokit.runtime.arch.translation import SCTLR_WXN, WalkRegisters
from relokit.runtime.arch.walker import Access, walk, walk_many
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables
from support.wild_tables import World, has_illegal_block, wild_descriptor

pytestmark = pytest.mark.oracle

SCTLR = 0x30D0_0801  # MMU on, RES1 as the kernel has them
# at s1e1r, x0; isb; mrs x1, par_el1; at s1e1w, x0; isb; mrs x2, par_el1
PROBE = bytes.fromhex("007808d5df3f03d5017438d5207808d5df3f03d5027438d5")
# The same with at s1e2r and at s1e2w.
PROBE_EL2 = bytes.fromhex("00780cd5df3f03d5017438d520780cd5df3f03d5027438d5")
NOP = bytes.fromhex("1f2003d5")
TRANSLATION_EXCEPTIONS = {3, 4}  # QEMU's EXCP_PREFETCH_ABORT and EXCP_DATA_ABORT

# (CRn, CRm, op0, op1, op2), ARM DDI 0487 D23
SCR_EL3 = (1, 1, 3, 6, 0)
HCR_EL2 = (1, 1, 3, 4, 0)
SCTLR_EL1 = (1, 0, 3, 0, 0)
TCR_EL1 = (2, 0, 3, 0, 2)
TTBR0_EL1 = (2, 0, 3, 0, 0)
TTBR1_EL1 = (2, 0, 3, 0, 1)
MAIR_EL1 = (10, 2, 3, 0, 0)
SCTLR_EL2 = (1, 0, 3, 4, 0)
TCR_EL2 = (2, 0, 3, 4, 2)
TTBR0_EL2 = (2, 0, 3, 4, 0)
MAIR_EL2 = (10, 2, 3, 4, 0)
PSTATE_EL3H = 0x3CD


class Engine:
    """A CPU at EL1 with the MMU on, running from an identity-mapped page.

    With ``el=2``, ``regs`` are those of EL2 without E2H, and the CPU is at EL3, MMU off.
    """

    def __init__(self, memory: GuestMemory, code: int, regs: WalkRegisters, el: int = 1) -> None:
        self.code = code
        self.exception: int | None = None
        uc: Any = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        uc.ctl_set_cpu_model(arm64.UC_CPU_ARM64_MAX)
        uc.mem_map_ptr(memory.base, memory.size, unicorn.UC_PROT_ALL, memory.address)
        uc.hook_add(unicorn.UC_HOOK_INTR, self._interrupt)
        el1 = (
            (TCR_EL1, regs.tcr),
            (TTBR0_EL1, regs.ttbr0),
            (TTBR1_EL1, regs.ttbr1),
            (MAIR_EL1, regs.mair),
            (SCTLR_EL1, regs.sctlr),
        )
        el2 = (
            (TCR_EL2, regs.tcr),
            (TTBR0_EL2, regs.ttbr0),
            (MAIR_EL2, regs.mair),
            (SCTLR_EL2, regs.sctlr),
        )
        if el == 2:
            uc.reg_write(arm64.UC_ARM64_REG_PSTATE, PSTATE_EL3H)
        for register, value in ((SCR_EL3, 0x531), (HCR_EL2, 1 << 31), *(el1 if el == 1 else el2)):
            uc.reg_write(arm64.UC_ARM64_REG_CP_REG, (*register, value))
        self.uc = uc

    def _interrupt(self, uc: Any, number: int, data: object) -> None:
        self.exception = number
        uc.emu_stop()

    def probe(self, va: int) -> tuple[int, int]:
        """PAR_EL1 after a read and after a write of ``va``."""
        self.uc.reg_write(arm64.UC_ARM64_REG_X0, va)
        self.uc.emu_start(self.code, self.code + len(PROBE))
        return self.uc.reg_read(arm64.UC_ARM64_REG_X1), self.uc.reg_read(arm64.UC_ARM64_REG_X2)

    def fetches(self, va: int) -> bool:
        """Whether one NOP at ``va`` executes."""
        self.exception = None
        try:
            self.uc.emu_start(va, va + 4, count=1)
        except unicorn.UcError:
            return False
        return self.exception not in TRANSLATION_EXCEPTIONS


def _par(
    memory: GuestMemory, regs: WalkRegisters, va: int, access: Access, el: int
) -> tuple[bool, int]:
    """(fault, FST or page) as PAR_EL1 would hold them, from our walk."""
    result = walk(memory, regs, va, el=el)
    fault = result.fault_for(access)
    if fault:
        return True, fault.code
    assert result.pa is not None
    return False, result.pa >> 12


def _decoded(par: int) -> tuple[bool, int]:
    return (True, par >> 1 & 0x3F) if par & 1 else (False, (par & (1 << 48) - 1) >> 12)


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
@pytest.mark.parametrize("seed", range(12))
def test_wild_tables_translate_and_fault_as_the_engine_says(
    page_size: int, seed: int, el: int
) -> None:
    rng = random.Random(seed)
    world = World(page_size)
    world.memory.write(world.code, PROBE)
    granule, memory = world.granule, world.memory
    va_bits = rng.randrange(25, 49)
    tables = [world.allocator.alloc(destination(0, "wild"), page_size).base for _ in range(8)]
    # Few distinct indices, so that walks go deep; every level of them holds something odd.
    last = granule.entries - 1
    slots = [0, 1, last, *(rng.randrange(granule.entries) for _ in range(5))]
    for table in tables:
        for slot in slots:
            memory.write_u64(table + 8 * slot, wild_descriptor(rng, tables))
    sctlr = SCTLR | (rng.random() < 0.3) * SCTLR_WXN
    if el == 1:
        tcr = tcr_el1(granule, t0_bits=48, t1_bits=va_bits, pa_bits=48)
        odds = ((g.EPD1, 0.1), (g.TBI1, 0.3), (g.HPD1, 0.3))
        ttbrs = (world.idmap.root, tables[0])
    else:
        tcr = tcr_el2(granule, va_bits=va_bits, pa_bits=48)
        odds = ((g.EL2_TBI, 0.3), (g.EL2_HPD, 0.3))
        ttbrs = (tables[0], 0)
        memory.write(world.code, PROBE_EL2)
    for bit, chance in odds:
        tcr |= (rng.random() < chance) << bit
    regs = WalkRegisters(sctlr, tcr, *ttbrs)
    engine = Engine(memory, world.code, regs, el)
    vas = []
    for _ in range(60):
        offset = rng.randrange(page_size)
        for level in range(granule.start_level(va_bits), 4):
            offset |= rng.choice(slots) << granule.shift(level)
        va = offset & ((1 << va_bits) - 1)
        if el == 1:
            va |= (1 << 64) - (1 << va_bits)
        if rng.random() < 0.2:
            va ^= 1 << rng.choice([bit for bit in range(va_bits, 64) if bit != 55])
        vas.append(va)
    for va in vas:
        read, write = engine.probe(va)
        trail = str(walk(memory, regs, va, el=el))
        if has_illegal_block(trail, granule.block_levels):
            continue
        assert _decoded(read) == _par(memory, regs, va, Access.READ, el), trail
        assert _decoded(write) == _par(memory, regs, va, Access.WRITE, el), trail
    many = walk_many(memory, regs, np.array(vas, dtype=np.uint64), el=el)
    for index, va in enumerate(vas):
        one = walk(memory, regs, va, el=el)
        assert many.pa[index] == (one.pa or 0)
        assert many.fault[index] == (one.fault.code if one.fault else -1)
        assert many.level[index] == one.level
        assert bool(many.writable[index]) == one.writable
        assert bool(many.executable[index]) == one.executable
        assert many.attr_index[index] == (-1 if one.attr_index is None else one.attr_index)


@pytest.mark.parametrize("wxn", [0, SCTLR_WXN])
@pytest.mark.parametrize("limits", [0, d.TABLE_PXN, d.TABLE_UXN, d.TABLE_AP_NO_EL0])
def test_fetch_permission_is_the_engines(wxn: int, limits: int) -> None:
    world = World(4096)
    world.memory.write(world.code, PROBE)
    memory = world.memory
    target = world.allocator.alloc(destination(0, "target"), 4096).base
    memory.write(target, NOP * 1024)
    upper = PageTables(
        memory, world.allocator, world.granule, 39, upper=True, owner=destination(0, "upper")
    )
    va = upper.low + 0x1000
    tcr = tcr_el1(world.granule, t0_bits=48, t1_bits=39, pa_bits=48)
    regs = WalkRegisters(SCTLR | wxn, tcr, world.idmap.root, upper.root)
    upper.map(va, target, 4096, d.KERNEL_RW)
    above, leaf = walk(memory, regs, va, el=1).trail[-2:]
    memory.write_u64(above.entry, above.descriptor | limits)
    outcomes = set()
    for bits in range(16):
        attributes = sum(
            bit
            for index, bit in enumerate((d.AP_READ_ONLY, d.AP_EL0, d.PXN, d.UXN))
            if bits >> index & 1
        )
        memory.write_u64(leaf.entry, target | d.AF | d.SH_INNER | d.PAGE | attributes)
        expected = walk(memory, regs, va, el=1).executable
        outcomes.add(expected)
        assert Engine(memory, world.code, regs).fetches(va) == expected, hex(attributes)
    assert outcomes == ({False} if limits == d.TABLE_PXN else {False, True})
