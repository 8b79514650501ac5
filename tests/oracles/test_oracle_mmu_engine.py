"""Our MMU against the engine's own walk: loads, stores and fetches over the same wild tables.

The engine is Unicorn in the mode in which it translates itself (UC_TLB_CPU). What it does not do
and the architecture asks for is kept out: output addresses beyond IPS, blocks where the granule has
none, tables outside RAM.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from unicorn.unicorn_const import UC_TLB_CPU

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import PSTATE_PAN, Policy
from relokit.runtime.arch.geometry import TBI1, tcr_el1
from relokit.runtime.arch.translation import SCTLR_WXN
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.stop import Stop, StopReason
from support.wild_tables import BASE, World, has_illegal_block, wild_descriptor

pytestmark = pytest.mark.oracle

SCTLR = 0x30D0_0801
HCR_RW, HCR_HOST = 1 << 31, 1 << 31 | 1 << 34 | 1 << 27
# ldr x2, [x0]; str x2, [x0]: what is there stays. And the same with LDTR and STTR, and br x0.
PROGRAMS = {
    "ordinary": (0xF9400002, 0xF9000002),
    "unprivileged": (0xF8400802, 0xF8000802),
    "branch": (0xD61F0000, 0xD503201F),
}
DESCRIPTION = 0x7FF << 14
NOTHING = Policy(frozenset())


def _what(cpu: Cpu, stop: Stop) -> tuple[object, ...]:
    if stop.event is not None:
        event = stop.event
        # At EL2 the engine describes the access, which only second stage faults do (ESR_EL2.ISV).
        esr = event.esr & ~DESCRIPTION
        return "exception", hex(esr), event.far, event.return_address, stop.instructions
    if stop.reason is StopReason.ENGINE or stop.reason is StopReason.UNMAPPED:
        return ("nothing there",)
    return str(stop.reason), stop.pc, cpu.x(2), stop.instructions


@pytest.mark.parametrize("el", [0, 1, 2])
@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
@pytest.mark.parametrize("seed", range(4))
def test_accesses_over_wild_tables_end_as_in_the_engine(page_size: int, seed: int, el: int) -> None:
    rng = random.Random(seed)
    world = World(page_size)
    granule, memory = world.granule, world.memory
    va_bits = rng.randrange(25, 49)
    tables = [BASE + (8 << 20) + index * page_size for index in range(8)]
    last = granule.entries - 1
    slots = [0, 1, last, *(rng.randrange(granule.entries) for _ in range(5))]
    for table in tables:
        for slot in slots:
            memory.write_u64(table + 8 * slot, wild_descriptor(rng, tables))
    code = world.code
    regime = 2 if el == 2 else 1
    tcr = tcr_el1(granule, t0_bits=48, t1_bits=va_bits, pa_bits=48)
    tcr |= (rng.random() < 0.3) << TBI1
    pan = PSTATE_PAN if el and rng.random() < 0.4 else 0
    sctlr = SCTLR | (rng.random() < 0.3) * SCTLR_WXN
    cpus = []
    for own in (False, True):
        cpu = Cpu("max", memory, policy=NOTHING)
        if own:
            cpu.uc.ctl_set_tlb_mode(UC_TLB_CPU)
        cpu.write("HCR_EL2", HCR_HOST if el == 2 else HCR_RW)
        for name, value in (
            ("TCR", tcr),
            ("TTBR0", world.idmap.root),
            ("TTBR1", tables[0]),
            ("MAIR", d.MAIR),
            ("SCTLR", sctlr),
        ):
            cpu.write(f"{name}_EL{regime}", value)
        cpu.set_el(el)
        cpu.set_pstate(cpu.pstate | pan)
        cpus.append(cpu)
    leaf = cpus[0].walk(code, regime).trail[-1]
    memory.write_u64(leaf.entry, (leaf.descriptor & ~d.UXN) | d.AP_EL0 | d.AP_READ_ONLY)
    seen: Counter[str] = Counter()
    for _ in range(40):
        va = rng.randrange(page_size) & ~7
        for level in range(granule.start_level(va_bits), 4):
            va |= rng.choice(slots) << granule.shift(level)
        va = va & ((1 << va_bits) - 1) | (1 << 64) - (1 << va_bits)
        walked = cpus[0].walk(va, regime)
        if has_illegal_block(str(walked), granule.block_levels):
            continue
        name = rng.choice(list(PROGRAMS))
        for index, word in enumerate(PROGRAMS[name]):
            memory.write(code + 4 * index, word.to_bytes(4, "little"))
        found = []
        for cpu in cpus:
            cpu.flush_code()
            cpu.flush_tlb()
            cpu.set_x(0, va)
            cpu.set_x(2, 0)
            until = va if name == "branch" else code + 8
            stop = cpu.run(code, until=until, max_instructions=100, timeout_s=5)
            found.append(_what(cpu, stop))
        ours, engine = found
        assert ours == engine, f"EL{el} {name} {va:#x} pan {pan:#x} sctlr {sctlr:#x}\n{walked}"
        seen[str(ours[0])] += 1
    assert seen["exception"]
