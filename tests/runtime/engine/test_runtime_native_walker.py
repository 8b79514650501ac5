"""The walk in C against the one in Python, over random tables and registers, and its rights."""

from __future__ import annotations

import ctypes
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base import native
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch import geometry as g
from relokit.runtime.arch.translation import (
    SCTLR_M,
    SCTLR_WXN,
    WalkRegisters,
    table_range,
    to_ttbr,
    two_ranges,
)
from relokit.runtime.arch.walker import Access, walk
from relokit.runtime.engine.mmu import WALK_OK, NativeRam, NativeRegime, NativeWalk
from relokit.runtime.guest.memory import GuestMemory

BASE, TABLES = 0x4000_0000, 8
READ, WRITE, EXECUTE = 1, 2, 4
LIBRARY = native.library()
LIBRARY.walk_rights.restype = ctypes.c_uint64
LIBRARY.walk_is_device.restype = ctypes.c_uint64


def _regime(regs: WalkRegisters, el: int) -> NativeRegime:
    return NativeRegime(
        regs.sctlr,
        regs.tcr,
        regs.ttbr0,
        regs.ttbr1,
        regs.mair,
        two_ranges(regs, el),
        regs.cpu_bits,
    )


def _walk(memory: GuestMemory, regime: NativeRegime, va: int) -> NativeWalk:
    result = NativeWalk()
    ram = NativeRam.of(memory)
    LIBRARY.walk_stage1(
        ctypes.byref(ram), ctypes.byref(regime), ctypes.c_uint64(va), ctypes.byref(result)
    )
    return result


def _rights(
    regime: NativeRegime, result: NativeWalk, *, unprivileged: bool = False, pan: bool = False
) -> int:
    return int(
        LIBRARY.walk_rights(
            ctypes.byref(regime),
            ctypes.byref(result),
            ctypes.c_uint64(unprivileged),
            ctypes.c_uint64(pan),
        )
    )


def _tcr(rng: random.Random, granule: g.Granule) -> int:
    tcr = rng.getrandbits(64)
    for field, width, values in (
        (g.TG0, 2, [granule.tg0] * 4 + [0b11]),
        (g.TG1, 2, [granule.tg1] * 4 + [0b00]),
        (g.T0SZ, 6, [0, 12, 16, 20, 25, 33, 39, 63]),
        (g.T1SZ, 6, [0, 12, 16, 20, 25, 33, 39, 63]),
        (g.EPD0, 1, [0] * 9 + [1]),
        (g.EPD1, 1, [0] * 9 + [1]),
        (g.IPS, 3, [0, 5, 5, 6, 6, 7]),
    ):
        tcr = tcr & ~((1 << width) - 1 << field) | rng.choice(values) << field
    if rng.random() < 0.5:
        # PS of EL2 alone overlaps T1SZ.
        tcr = tcr & ~(7 << g.EL2_PS) | 5 << g.EL2_PS
    return tcr


def _descriptor(rng: random.Random, tables: list[int]) -> int:
    kind = rng.choice([0, 1, 1, 2, 3, 3, 3, 3, 3, 3])
    attributes = rng.getrandbits(64) & ~(((1 << 52) - (1 << 12)) | 3)
    if rng.random() < 0.7:
        attributes &= ~(1 << 8 | 1 << 9)  # bits 51:50 of an address with LPA2
    if rng.random() < 0.8:
        attributes |= d.AF
    address = rng.choice(tables)
    if rng.random() < 0.2:
        address = rng.getrandbits(52) & ~0xFFF
    output = rng.choice([d.PLAIN, d.LPA, d.LPA2])
    return output.encode(address) | attributes | kind


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 1 << 40), st.sampled_from([4096, 16384, 65536]), st.booleans())
def test_both_walks_say_the_same(seed: int, page: int, wide: bool) -> None:
    rng = random.Random(seed)
    granule = g.granule_of(page)
    # Where RAM is, addresses beyond 48 bits lead to the tables.
    base = BASE | (rng.choice([0, rng.randrange(16) << 48]) if wide else 0)
    with GuestMemory(base, TABLES * 65536) as memory:
        tables = [base + index * 65536 for index in range(TABLES)]
        slots = [0, 1, granule.entries - 1, rng.randrange(granule.entries)]
        for table in tables:
            for slot in slots:
                memory.write_u64(table + 8 * slot, _descriptor(rng, tables))
        el = rng.choice([1, 1, 2])

        def root(table: int) -> int:
            return to_ttbr(table, 52 if wide else 48)

        regs = WalkRegisters(
            sctlr=(rng.random() < 0.95) * SCTLR_M | rng.choice([0, SCTLR_WXN]),
            tcr=_tcr(rng, granule),
            ttbr0=rng.choice([root(tables[0])] * 9 + [rng.getrandbits(64)]) | rng.choice([0, 1]),
            ttbr1=rng.choice([root(tables[1])] * 9 + [rng.getrandbits(64)]),
            mair=rng.getrandbits(64),
            e2h=el == 2 and rng.random() < 0.5,
            cpu_bits=52 if wide else 48,
        )
        regime = _regime(regs, el)
        for _ in range(12):
            va = rng.randrange(page)
            for level in range(-1, 4):
                va |= rng.choice(slots) << granule.shift(level)
            upper = two_ranges(regs, el) and rng.random() < 0.5
            size = 1 << table_range(regs, el, upper).va_bits
            va = va % size + upper * ((1 << 64) - size)
            if rng.random() < 0.15:
                va ^= rng.getrandbits(8) << 56
            if rng.random() < 0.1:
                va ^= 1 << rng.randrange(64)
            said, ours = walk(memory, regs, va, el=el), _walk(memory, regime, va)
            context = f"{said}\n{regs}"
            assert ours.fault == (said.fault.code if said.fault else WALK_OK), context
            if said.fault:
                continue
            assert ours.pa == said.pa, context
            rights = _rights(regime, ours)
            assert rights & READ
            assert bool(rights & WRITE) == (said.fault_for(Access.WRITE) is None), context
            assert bool(rights & EXECUTE) == (said.fault_for(Access.EXECUTE) is None), context
            if said.attr_index is not None:
                assert ours.level == said.level
                assert ours.attributes >> 2 & 7 == said.attr_index
                device = LIBRARY.walk_is_device(ctypes.byref(regime), ctypes.byref(ours))
                assert bool(device) == (d.memory_type(said.mair_byte or 0) == "device")


# DDI 0487, D8.4.1: what AP[2:1] grants data accesses, privileged and not.
GRANTED = {
    0: (READ | WRITE, 0),
    d.AP_EL0: (READ | WRITE, READ | WRITE),
    d.AP_READ_ONLY: (READ, 0),
    d.AP_READ_ONLY | d.AP_EL0: (READ, READ),
}


@pytest.mark.parametrize("wxn", [0, SCTLR_WXN])
@pytest.mark.parametrize("pan", [False, True])
@pytest.mark.parametrize("unprivileged", [False, True])
@pytest.mark.parametrize("ap", list(GRANTED))
@pytest.mark.parametrize("never", [0, d.PXN, d.UXN, d.PXN | d.UXN])
def test_rights_of_two_ranges_are_those_of_the_tables(
    ap: int, never: int, *, unprivileged: bool, pan: bool, wxn: int
) -> None:
    regime = NativeRegime(sctlr=SCTLR_M | wxn, two_ranges=1, cpu_bits=48)
    result = NativeWalk(fault=WALK_OK, attributes=ap | never)
    privileged, el0 = GRANTED[ap]
    data = el0 if unprivileged else privileged
    # PAN keeps the privileged level from data, not from instructions.
    blocked = pan and not unprivileged and ap & d.AP_EL0
    executable = not never & (d.UXN if unprivileged else d.PXN)
    if wxn and data & WRITE:
        executable = False
    if not unprivileged and el0 & WRITE:
        executable = False
    expected = (0 if blocked else data) | (EXECUTE if executable else 0)
    assert _rights(regime, result, unprivileged=unprivileged, pan=pan) == expected


def test_mmu_off_grants_everything_as_device_memory() -> None:
    regime = NativeRegime(two_ranges=1, cpu_bits=48)
    with GuestMemory(BASE, 4096) as memory:
        for va, fault in ((0, WALK_OK), ((1 << 48) - 1, WALK_OK), (1 << 48, 0)):
            assert _walk(memory, regime, va).fault == fault
        result = _walk(memory, regime, BASE)
    assert result.pa == BASE
    assert _rights(regime, result, unprivileged=True, pan=True) == READ | WRITE | EXECUTE
    assert LIBRARY.walk_is_device(ctypes.byref(regime), ctypes.byref(result))
