"""The model of the caches: against one that keeps a set of bytes, and row by row of its rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.judge.model.caches.coherence import Coherence
from relokit.runtime.judge.model.caches.holdings import Delivered
from relokit.runtime.judge.model.caches.lapse import LapseKind
from relokit.runtime.judge.model.caches.memory_type import MemoryType, memory_type
from relokit.runtime.record.prehistory import Prehistory, merged
from relokit.runtime.record.trace import ATTRIBUTE_MMU
from support.coherence import BASE, CLEAN, DIRTY, OTHER, SIZE, followed, lapses
from support.traces import (
    FULL,
    INNER,
    LOADS,
    MMU_OFF,
    NON,
    NON_CACHEABLE,
    OUTER,
    STORES,
    SYSTEM,
    UNALIGNED,
    Story,
)

# Against sets of bytes ----------------------------------------------------------------------------


@dataclass
class Bytes:
    """The plain way: for each byte whether it is dirty, or cleaned and not completed."""

    line: int
    dirty: set[int] = field(default_factory=set)
    pending: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)

    def lines(self, pa: int) -> range:
        return range(pa & -self.line, (pa & -self.line) + self.line)

    def store(self, pa: int, size: int) -> None:
        # A cache knows lines, not bytes.
        for byte in range(pa, pa + size):
            self.dirty.update(self.lines(byte))
            self.pending.difference_update(self.lines(byte))

    def dc(self, name: str, pa: int, size: int, stride: int) -> None:
        for operand in range(pa, pa + -(-size // stride) * stride, stride):
            if name == "ivac":
                granule = max(2048, self.line)
                around = set(range(operand & -granule, (operand & -granule) + granule))
                self.dropped |= self.dirty & around
                self.dirty -= around
            else:
                cleaned = set(self.lines(operand))
                self.pending |= self.dirty & cleaned
                self.dirty -= cleaned

    def dsb(self, kind: int) -> None:
        if kind == FULL:
            self.pending.clear()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, 0x1F00), st.integers(1, 0x300)),
        st.tuples(
            st.sampled_from(["civac", "cvac", "ivac"]),
            st.integers(0, 0x1F00),
            st.integers(1, 0x900),
            st.sampled_from([8, 16, 32, 64, 96, 128, 256, 512]),
        ),
        st.tuples(st.just("dsb"), st.sampled_from([FULL, LOADS, STORES])),
    ),
    max_size=12,
)


@given(line=st.sampled_from([16, 64, 128, 2048]), steps=STEPS)
def test_dirty_pending_and_dropped_as_sets_of_bytes_have_them(
    line: int, steps: list[tuple[object, ...]]
) -> None:
    story, plain = Story(line=line), Bytes(line)
    for name, *numbers in steps:
        match name, numbers:
            case "store", [int(at), int(size)]:
                story.store(BASE + at, size)
                plain.store(BASE + at, size)
            case "dsb", [int(kind)]:
                story.dsb(kind)
                plain.dsb(kind)
            case str() as name, [int(at), int(size), int(stride)]:
                story.dc(name, BASE + at, size, stride=stride)
                plain.dc(name, BASE + at, size, stride)
    found = followed(story).lapses

    def size(kind: LapseKind) -> int:
        return sum(lapse.size for lapse in found.of([kind]))

    assert size(LapseKind.DIRTY) == len(plain.dirty)
    assert size(LapseKind.UNCOMPLETED) == len(plain.pending)
    dropped = {
        byte
        for lapse in found.of([LapseKind.DISCARDED])
        for pa, count in lapse.spans
        for byte in range(pa, pa + count)
    }
    assert dropped == plain.dropped


def test_a_whole_move_is_followed_in_a_second() -> None:
    """84 MiB in 4 KiB pages, the pages in no order; and a stride that leaves every other line."""
    pages = np.random.RandomState(1).permutation(21504).tolist()
    for stride, bound in ((64, 5.0), (128, 12.0)):
        story = Story()
        for page in pages:
            story.pc = 0x5000_0000
            story.store(BASE + page * 4096, 4096)
            story.dc("civac", BASE + page * 4096, 4096, stride=stride).dsb()
        trace = story.trace()
        begin = process_time()
        whole = Delivered(0, True, BASE, len(pages) * 4096, len(trace.records))
        found = Coherence(trace, CLEAN, (whole,)).lapses
        assert process_time() - begin < bound
        missed = sum(lapse.size for lapse in found.of([LapseKind.DIRTY]))
        assert missed == (0 if stride == 64 else len(pages) * 2048)


# Row by row ---------------------------------------------------------------------------------------


def test_dirty_is_what_was_stored_not_what_differs() -> None:
    """Pages copied onto themselves, too."""
    [lapse] = lapses(Story().load(BASE, 4096).store(BASE, 4096), LapseKind.DIRTY)
    assert (lapse.size, lapse.spans) == (4096, [(BASE, 4096)])


def test_old_data_of_the_old_kernel_is_dirty_where_nothing_cleaned_it() -> None:
    [lapse] = lapses(Story().fetchable(), LapseKind.DIRTY, prehistory=Prehistory((), ()))
    assert lapse.pc is None
    assert lapse.old == SIZE


@pytest.mark.parametrize("name", ["civac", "cvac", "cvap", "cvadp", "cigdvac"])
def test_what_cleans_to_the_poc_or_beyond(name: str) -> None:
    story = Story().store(BASE, SIZE).dc(name, BASE, SIZE).fetchable()
    assert not lapses(story, LapseKind.DIRTY, LapseKind.UNCOMPLETED)


@pytest.mark.parametrize("name", ["cvau", "igvac"])
def test_what_does_not(name: str) -> None:
    story = Story().store(BASE, SIZE).dc(name, BASE, SIZE)
    [lapse] = lapses(story.fetchable(), LapseKind.DIRTY)
    assert lapse.size == SIZE
    assert lapse.pc == 0x5000_0004, "told at the maintenance, which is there and not enough"


@pytest.mark.parametrize(
    ("start", "size", "missed"),
    [
        (0, SIZE, []),
        (64, SIZE, [0]),
        (8, SIZE, []),
        (8, SIZE - 64, [SIZE - 64]),
        (0, SIZE - 64, [SIZE - 64]),
    ],
)
def test_rounding(start: int, size: int, missed: list[int]) -> None:
    """An operand needs no alignment, and reaches the line it is in (C19, C20)."""
    story = Story().store(BASE, SIZE).dc("civac", BASE + start, size - start).dsb()
    found = [pa - BASE for lapse in lapses(story, LapseKind.DIRTY) for pa, _ in lapse.spans]
    assert found == missed


@pytest.mark.parametrize("line", [16, 32, 64, 128, 256, 2048])
def test_a_line_is_as_long_as_ctr_says(line: int) -> None:
    story = Story(line=line).store(BASE, SIZE).dc("civac", BASE, SIZE, stride=64).dsb()
    missed = sum(lapse.size for lapse in lapses(story, LapseKind.DIRTY))
    assert missed == SIZE - SIZE // max(64, line) * line


@pytest.mark.parametrize("kind", [LOADS, STORES])
def test_only_a_dsb_for_loads_and_stores_completes(kind: int) -> None:
    story = Story().store(BASE, SIZE).dc("civac", BASE, SIZE).dsb(kind)
    [lapse] = lapses(story, LapseKind.UNCOMPLETED)
    assert lapse.pc == 0x5000_0008, "told at the barrier"
    assert not lapses(story.dsb(), LapseKind.UNCOMPLETED)


@pytest.mark.parametrize(
    ("domain", "weak"), [(SYSTEM, False), (OUTER, False), (INNER, True), (NON, True)]
)
def test_the_domain_of_a_dsb(domain: int, weak: bool) -> None:
    story = Story().store(BASE, SIZE).dc("civac", BASE, SIZE).dsb(FULL, domain)
    found = lapses(story, LapseKind.WEAK, LapseKind.UNCOMPLETED)
    assert [lapse.kind for lapse in found] == [LapseKind.WEAK] * weak
    assert not lapses(story.dsb(), LapseKind.WEAK), "a later one completes it for all"


def test_a_store_after_the_clean_makes_it_dirty_again() -> None:
    story = Story().store(BASE, SIZE).dc("civac", BASE, SIZE).store(BASE, 8).dsb()
    [lapse] = lapses(story, LapseKind.DIRTY)
    assert lapse.size == 64


def test_an_invalidation_reaches_a_whole_granule() -> None:
    """CTR_EL0.CWG is 2 KiB at most, and that if it says nothing (C8)."""
    for at, reached in ((0, True), (2048 - 64, True), (2048, False)):
        story = Story().store(BASE + at, 64).dc("ivac", BASE, 64)
        assert bool(lapses(story, LapseKind.DISCARDED)) == reached


def test_what_the_move_needs_is_not_to_be_dropped_and_what_nobody_needs_may_be() -> None:
    story = Story().dc("ivac", BASE, 64)
    [lapse] = lapses(story, LapseKind.DISCARDED, prehistory=DIRTY)
    assert lapse.old == 2048
    nobody = Prehistory((), ((OTHER, OTHER + SIZE),))
    assert not lapses(story, LapseKind.DISCARDED, prehistory=nobody)


def test_around_the_caches() -> None:
    """Mismatched attributes: clean, DSB, read; invalidate, DSB, write (C24)."""
    read = LapseKind.READ_AROUND
    assert lapses(Story().store(BASE, 64).mmu_off().load(BASE, 64), read)
    cleaned = Story().store(BASE, 64).dc("cvac", BASE, 64)
    assert not lapses(cleaned.dsb().mmu_off().load(BASE, 64), read, LapseKind.UNCOMPLETED)
    early = Story().store(BASE, 64).dc("cvac", BASE, 64).mmu_off().load(BASE, 64)
    assert lapses(early, LapseKind.UNCOMPLETED)
    written = LapseKind.WRITTEN_AROUND
    assert lapses(Story().store(BASE + 1024, 64).mmu_off().store(BASE, 64), written)
    assert not lapses(Story().store(BASE + 2048, 64).mmu_off().store(BASE, 64), written)
    assert lapses(Story().store(BASE, 64).mmu_off().dc("cvac", BASE, 64).store(BASE, 64))


def test_non_cacheable_memory_is_around_the_caches_as_device_is() -> None:
    story = Story().store(BASE, 64)
    story.attributes = NON_CACHEABLE
    assert lapses(story.load(BASE, 64), LapseKind.READ_AROUND)
    assert not lapses(story.load(BASE + 1, 8, flags=UNALIGNED), LapseKind.FORBIDDEN)


def test_with_sctlr_c_off_data_is_around_the_caches() -> None:
    story = Story().store(BASE, 64).msr("SCTLR_EL1", 1).isb().load(BASE, 64)
    assert lapses(story, LapseKind.READ_AROUND)
    assert not lapses(Story().store(BASE, 64).load(BASE, 64), LapseKind.READ_AROUND)


def test_a_line_that_was_allocated_before_hides_what_is_written_around_it() -> None:
    whole = LapseKind.HIDDEN
    prelude = Story().mmu_off()
    assert lapses(prelude.store(BASE, SIZE), whole)
    emptied = Story().mmu_off().dc("ivac", BASE, SIZE).dsb().store(BASE, SIZE)
    assert not lapses(emptied, whole)
    with_the_mmu_on = Story().dc("civac", BASE, SIZE).dsb().mmu_off().store(BASE, SIZE)
    assert lapses(with_the_mmu_on, whole), "it may have been allocated again at once"
    later = Story().mmu_off().store(BASE, SIZE).dc("ivac", BASE, SIZE).dsb()
    assert not lapses(later, whole)
    on_in_between = Story().mmu_off().dc("ivac", BASE, SIZE).dsb().mmu_on().load(OTHER, 8)
    assert lapses(on_in_between.mmu_off().store(BASE, SIZE), whole)


def test_no_new_lines_below_a_level_only_while_it_has_its_mmu_off() -> None:
    for sctlr, hides in ((0, False), (5, True)):
        story = Story().mmu_off()
        story._start["SCTLR_EL2"] = sctlr
        story.dc("ivac", BASE, SIZE).dsb().store(BASE, SIZE)
        assert bool(lapses(story, LapseKind.HIDDEN)) == hides


def test_an_invalidation_below_a_hypervisor_cleans() -> None:
    """C9: so nothing is lost there, but would be elsewhere."""
    story = Story(hcr=1).store(BASE, SIZE).dc("ivac", BASE, SIZE).dsb()
    [lapse] = lapses(story, LapseKind.MASKED, LapseKind.DISCARDED, LapseKind.DIRTY)
    assert (lapse.kind, lapse.size) == (LapseKind.MASKED, SIZE)
    not_completed = Story(hcr=1).store(BASE, SIZE).dc("ivac", BASE, SIZE)
    assert lapses(not_completed, LapseKind.UNCOMPLETED)


def test_maintenance_of_another_cacheability_may_come_before_the_store() -> None:
    """C17: it is in program order with accesses of its own kind only, else behind a barrier."""
    for barrier, dirty in ((None, True), ("dmb", False), ("dsb", False), ("isb", True)):
        story = Story().store(BASE, SIZE)
        if barrier:
            getattr(story, barrier)()
        story.mmu_off().dc("civac", BASE, SIZE).dsb()
        found = lapses(story, LapseKind.DIRTY)
        assert bool(found) == dirty, barrier
        if dirty:
            # At the maintenance, which does not do it.
            assert found[0].pc == story.pc - 8
    for kind in (LOADS, STORES):
        story = Story().store(BASE, SIZE).dmb(kind).mmu_off().dc("civac", BASE, SIZE).dsb()
        assert lapses(story, LapseKind.DIRTY)
    around = Story().mmu_off().store(BASE, SIZE)
    assert not lapses(around.dc("ivac", BASE, SIZE).dsb(), LapseKind.HIDDEN)
    around = Story().mmu_off().store(BASE, SIZE).mmu_on()
    assert lapses(around.dc("civac", BASE, SIZE).dsb(), LapseKind.HIDDEN)
    around = Story().mmu_off().store(BASE, SIZE).dmb().mmu_on()
    assert not lapses(around.dc("civac", BASE, SIZE).dsb(), LapseKind.HIDDEN)


def test_two_types_of_memory_around_the_caches_are_in_order_behind_a_barrier() -> None:
    """C25."""
    for store, load in ((MMU_OFF, NON_CACHEABLE), (NON_CACHEABLE, MMU_OFF)):
        for barrier, mixed in ((False, True), (True, False)):
            story = Story()
            story.attributes = store
            story.store(BASE, 64)
            if barrier:
                story.dmb()
            story.attributes = load
            assert bool(lapses(story.load(BASE, 8), LapseKind.MIXED)) == mixed
            story.attributes = store
            assert len(lapses(story.load(BASE, 8), LapseKind.MIXED)) == mixed


@pytest.mark.parametrize(
    ("name", "optional"),
    [("cvap", True), ("cvadp", True), ("cgdvac", True), ("igdvac", True), ("cigdvac", True),
     ("cvac", False), ("civac", False), ("ivac", False), ("cvau", False)],
)  # fmt: skip
def test_what_not_every_cpu_has(name: str, optional: bool) -> None:
    assert bool(lapses(Story().dc(name, BASE, 64), LapseKind.OPTIONAL)) == optional


# Facts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mair", "cache_on", "wanted"),
    [
        (0x00, True, MemoryType.DEVICE),
        (0x04, True, MemoryType.DEVICE),
        (0x44, True, MemoryType.AROUND),
        (0xF4, True, MemoryType.AROUND),
        (0x4F, True, MemoryType.AROUND),
        (0xBB, True, MemoryType.THROUGH),
        (0x33, True, MemoryType.THROUGH),
        (0xFF, True, MemoryType.WRITE_BACK),
        (0x77, True, MemoryType.WRITE_BACK),
        (0xFF, False, MemoryType.AROUND),
        (0x04, False, MemoryType.DEVICE),
    ],
)
def test_memory_types(mair: int, cache_on: bool, wanted: MemoryType) -> None:
    assert memory_type(ATTRIBUTE_MMU | mair, cache_on) is wanted
    assert memory_type(mair, cache_on) is MemoryType.DEVICE


def test_ranges_are_merged() -> None:
    assert merged([(5, 7), (1, 2), (2, 3), (6, 9), (4, 4)]) == ((1, 3), (5, 9))


def test_a_device_is_in_no_cache() -> None:
    """A console that is written to where a line of memory would be dirty."""
    story = Story().store(OTHER, 8).mmu_off().load(OTHER, 8)
    trace = story.trace()
    found = Coherence(trace, CLEAN, ())
    assert list(found.lapses.of(LapseKind))
    banks = ((BASE, SIZE),)
    assert not list(Coherence(trace, CLEAN, (), banks).lapses.of(LapseKind))
