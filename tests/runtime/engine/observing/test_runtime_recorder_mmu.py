"""The recorder with the MMU on: PA and attributes are those that the engine went by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import DELIVER
from relokit.runtime.arch.geometry import granule_of, tcr_el1
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.record.trace import (
    ATTRIBUTE_MAIR,
    ATTRIBUTE_MMU,
    ATTRIBUTE_SHAREABILITY,
    Trace,
    TraceFlag,
    TraceKind,
)
from support.accesses import merged, recorded, watched

MakeBench = Callable[..., Any]
RAM, CODE = 0x4000_0000, 0x4010_0000
HIGH = (1 << 64) - (1 << 47)
PAGE, LINE = 4096, 64
SCTLR_ON = 0x30501805
NORMAL_WB = 0xFF


class Mapped:
    """A bench with its MMU on: the code where it is, and RAM from HIGH on, 16 MiB apart from the
    tables.
    """

    def __init__(self, bench: Any, attributes: int = d.KERNEL_RW, size: int = 0x10_0000) -> None:
        self.bench = bench
        self.allocator = PageAllocator(bench.memory, PAGE)
        self.allocator.reserve(destination(0, "data"), RAM, 0x10_0000)
        self.allocator.reserve(destination(0, "code"), CODE, 0x10_0000)
        self.low = self.tables("low", upper=False)
        self.low.idmap(CODE, 0x10_0000)
        self.high = self.tables("high", upper=True)
        self.high.map(HIGH, RAM, size, attributes, blocks=False)
        cpu = bench.cpu
        cpu.write("TCR_EL1", tcr_el1(granule_of(PAGE), t0_bits=48, t1_bits=48, pa_bits=44))
        cpu.write("TTBR0_EL1", self.low.root)
        cpu.write("TTBR1_EL1", self.high.root)
        cpu.write("MAIR_EL1", d.MAIR)
        cpu.write("SCTLR_EL1", SCTLR_ON)

    def tables(self, name: str, *, upper: bool) -> PageTables:
        owner = destination(0, name)
        return PageTables(
            self.bench.memory, self.allocator, granule_of(PAGE), 48, upper=upper, owner=owner
        )

    def leaf(self, pa: int) -> int:
        """PA of the entry that maps the page at ``pa``."""
        words = self.bench.memory.words
        mapped = np.flatnonzero((words & np.uint64(0xFFFF_FFFF_F003)) == pa | 3)
        return int(self.bench.memory.base + 8 * mapped[0])

    def record(self, text: str, **registers: int) -> tuple[Trace, Stop]:
        for name, value in ({"x0": HIGH} | registers).items():
            self.bench.cpu.set_x(int(name[1:]), value)
        with Recorder(self.bench.cpu) as recorder:
            stop = self.bench.run(text)
        return recorder.trace(), stop


def test_accesses_have_pa_and_attributes(bench: MakeBench) -> None:
    mapped = Mapped(bench())
    trace, stop = mapped.record("str x1, [x0, #8]; dc civac, x0; dsb sy")
    assert stop.reason is StopReason.REACHED
    for one in trace.of(TraceKind.STORE, TraceKind.DC, TraceKind.FETCH):
        assert one["attributes"] & ATTRIBUTE_MMU
        assert one["attributes"] & ATTRIBUTE_MAIR == NORMAL_WB
        assert one["attributes"] >> ATTRIBUTE_SHAREABILITY & 3 == 3
    (store,) = trace.of(TraceKind.STORE)
    assert (store["va"], store["pa"]) == (HIGH + 8, RAM + 8)


def test_device_memory_is_told(bench: MakeBench) -> None:
    trace, _ = Mapped(bench(), d.DEVICE_RW).record("str w1, [x0, #2]; ldr w1, [x0, #8]")
    store, load = trace.of(TraceKind.STORE, TraceKind.LOAD)
    assert store["attributes"] & ATTRIBUTE_MAIR == 4  # nGnRE
    assert store["flags"] == TraceFlag.UNALIGNED
    assert load["flags"] == 0


def test_a_fill_says_what_for_and_what_is_allowed(bench: MakeBench) -> None:
    mapped = Mapped(bench(), d.KERNEL_RO)
    trace, stop = mapped.record("ldr x1, [x0]; str x1, [x0]")
    assert stop.reason is StopReason.EXCEPTION
    code, data = trace.of(TraceKind.FILL)
    assert (code["va"], code["encoding"]) == (CODE, 2)
    assert code["flags"] == TraceFlag.READABLE | TraceFlag.EXECUTABLE
    assert (data["va"], data["pa"], data["encoding"]) == (HIGH, RAM, 0)
    assert data["flags"] == TraceFlag.READABLE
    assert data["value"] & d.AP_READ_ONLY
    assert len(trace.of(TraceKind.STORE)) == 0
    (taken,) = trace.of(TraceKind.EXCEPTION)
    assert (taken["va"], taken["pc"]) == (HIGH, CODE + 4)


def test_a_block_zeroed_is_a_store(bench: MakeBench) -> None:
    mapped = Mapped(bench())
    with watched(mapped.bench.cpu) as seen:
        trace, stop = mapped.record("dc zva, x0; ldr x1, [x0]", x0=HIGH + 100)
    assert stop.reason is StopReason.REACHED
    assert merged(recorded(trace)) == merged(seen.spans)
    (store,) = trace.of(TraceKind.STORE)
    assert (store["va"], store["length"]) == (HIGH + 64, 64)
    assert store["flags"] == TraceFlag.ZERO_BLOCK


@pytest.mark.parametrize("what", ["dc civac, x0", "dc zva, x0", "dc ivac, x0", "ic ivau, x0"])
def test_maintenance_that_faults_has_not_happened(bench: MakeBench, what: str) -> None:
    """Nor has the rest of its block, which the engine runs through before it stops."""
    unmapped = HIGH + 0x20_0000
    text = f"str x1, [x2]; {what}; str x1, [x2, #8]; ldr x1, [x2, #16]; dsb sy; isb"
    trace, stop = Mapped(bench()).record(text, x0=unmapped, x2=HIGH)
    assert (stop.reason, stop.pc) == (StopReason.EXCEPTION, CODE + 4)
    assert recorded(trace) == [("store", RAM, RAM + 8)]
    kinds = {TraceKind(kind) for kind in trace.records["kind"].tolist()}
    assert kinds - {TraceKind.VECTORS} == {
        TraceKind.FETCH,
        TraceKind.FILL,
        TraceKind.STORE,
        TraceKind.EXCEPTION,
    }
    assert trace.instructions == 2


def test_pages_that_lie_apart_are_ranges_apart(bench: MakeBench) -> None:
    mapped = Mapped(bench(), size=PAGE)
    mapped.high.map(HIGH + PAGE, RAM + 4 * PAGE, PAGE, d.KERNEL_RW, blocks=False)
    trace, _ = mapped.record("stp x1, x2, [x0]; str x1, [x0, #16]", x0=HIGH + PAGE - 12)
    first = [
        ("store", RAM + PAGE - 12, RAM + PAGE),
        ("store", RAM + 4 * PAGE, RAM + 4 * PAGE + 12),
    ]
    assert recorded(trace) == first
    text = "ldr x2, [x0, #32]; mov x5, #9; loop: str x1, [x0], #8; subs x5, x5, #1; b.ne loop"
    trace, _ = mapped.record(text, x0=HIGH + PAGE - 24)
    assert recorded(trace)[1:] == [
        ("store", RAM + PAGE - 24, RAM + PAGE),
        ("store", RAM + 4 * PAGE, RAM + 4 * PAGE + 48),
    ]


@pytest.mark.parametrize("invalidated", [False, True])
@pytest.mark.parametrize("distance", [0x40_5000, 0x40_0000])
def test_a_stale_translation_is_what_counts(
    bench: MakeBench, distance: int, invalidated: bool
) -> None:
    """The entry of a page is changed, and the engine goes by the old one: until that is
    invalidated, or something takes its place in the engine's TLB, as the far page does.
    """
    mapped = Mapped(bench(), size=2 * PAGE)
    leaf = mapped.leaf(RAM)
    mapped.high.map(HIGH + distance, leaf & -PAGE, PAGE, d.KERNEL_RW, blocks=False)
    invalidation = "dsb sy; tlbi vmalle1; dsb sy; isb" if invalidated else "nop"
    with watched(mapped.bench.cpu) as seen:
        trace, stop = mapped.record(
            f"str x1, [x0]; str x4, [x3]; str x1, [x0, #8]; {invalidation}; str x1, [x0, #16]",
            x3=HIGH + distance + leaf % PAGE,
            x4=mapped.bench.memory.read_u64(leaf) + 2 * PAGE,
        )
    assert stop.reason is StopReason.REACHED
    assert merged(recorded(trace)) == merged(seen.spans)
    old, new = RAM + 16, RAM + 2 * PAGE + 16
    stale = distance != 0x40_0000 and not invalidated
    assert (seen.spans[-1][1] == old) is stale
    assert (seen.spans[-1][1] == new) is not stale


def test_each_exception_level_has_its_own_translation(bench: MakeBench) -> None:
    """One VA: by tables at EL1, flat at EL2, and at EL1 again without another fill."""
    mapped = Mapped(bench(), size=PAGE)
    cpu = mapped.bench.cpu
    where = RAM + 0x80_0000
    mapped.low.map(where, RAM, PAGE, d.KERNEL_RW, blocks=False)
    vectors = CODE + 0x8000
    mapped.bench.load("str x1, [x0, #8]; eret", at=vectors + 0x400)
    cpu.write("VBAR_EL2", vectors)
    cpu.policy = DELIVER
    with watched(cpu) as seen:
        trace, stop = mapped.record("str x1, [x0]; hvc #0; str x1, [x0, #16]", x0=where)
    assert stop.reason is StopReason.REACHED
    spans = [
        ("store", RAM, RAM + 8),
        ("store", where + 8, where + 16),
        ("store", RAM + 16, RAM + 24),
    ]
    assert recorded(trace) == seen.spans == spans


def test_an_instruction_that_ends_translations_is_before_the_fills_after_it(
    bench: MakeBench,
) -> None:
    trace, _ = Mapped(bench()).record("ldr x1, [x0]; dsb ish; tlbi vmalle1; dsb ish; ldr x1, [x0]")
    kinds = [TraceKind(kind) for kind in trace.records["kind"].tolist()]
    tlbi = kinds.index(TraceKind.TLBI)
    fills = [at for at, kind in enumerate(kinds) if kind is TraceKind.FILL]
    # Before it: code and data. After it: the same again.
    assert [at < tlbi for at in fills] == [True, True, False, False]
    assert trace.records["va"][fills].tolist() == [CODE, HIGH, CODE, HIGH]


def test_more_pages_than_translations_are_remembered(bench: MakeBench) -> None:
    """Pages whose places in the table are the same take turns: what was forgotten is walked."""
    mapped = Mapped(bench(), size=PAGE)
    far = HIGH + (PAGE << 14) * ((1 << 14) + 1)
    mapped.high.map(far, RAM + 2 * PAGE, PAGE, d.KERNEL_RW, blocks=False)
    text = "mov x5, #9; loop: str x1, [x0]; str x1, [x3]; subs x5, x5, #1; b.ne loop"
    trace, stop = mapped.record(text, x3=far)
    assert stop.reason is StopReason.REACHED
    spans = set(recorded(trace))
    assert spans == {("store", RAM, RAM + 8), ("store", RAM + 2 * PAGE, RAM + 2 * PAGE + 8)}
    accesses = trace.of(TraceKind.LOAD, TraceKind.STORE, TraceKind.FETCH)
    assert not any(accesses["flags"] & TraceFlag.NO_PA)


def test_turning_the_mmu_off_is_seen(bench: MakeBench) -> None:
    text = "str x1, [x0]; msr sctlr_el1, x2; isb; str x1, [x3]"
    trace, stop = Mapped(bench()).record(text, x2=SCTLR_ON & ~1, x3=RAM + 8)
    assert stop.reason is StopReason.REACHED
    first, second = trace.of(TraceKind.STORE)
    assert (first["va"], first["pa"], bool(first["attributes"])) == (HIGH, RAM, True)
    assert (second["va"], second["pa"], second["attributes"]) == (RAM + 8, RAM + 8, 0)
    fetches = trace.of(TraceKind.FETCH)
    assert fetches["attributes"][0]
    assert not fetches["attributes"][-1]
