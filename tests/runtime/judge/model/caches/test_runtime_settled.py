"""Many copies told at once leave what they leave one by one, whatever else is among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.judge.model.caches import settled
from relokit.runtime.judge.model.caches.coherence import Coherence
from relokit.runtime.judge.model.caches.holdings import Delivered
from relokit.runtime.judge.model.caches.lapse import LapseKind
from relokit.runtime.judge.model.caches.settled import Stretch, Stretches
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.trace import Trace
from support.traces import FULL, INNER, LOADS, NON_CACHEABLE, SYSTEM, UNALIGNED, WRITE_BACK, Story

BASE, PAGE, PAGES = 0x4000_0000, 4096, 24
SOURCE = 0x4800_0000
HISTORY = Prehistory(
    clean=((BASE, BASE + 8 * PAGE),), needed=((BASE + 8 * PAGE, BASE + 12 * PAGE),)
)
ALL_CLEAN = Prehistory(clean=((BASE, SOURCE + PAGES * PAGE),), needed=())
NEVER = 1 << 30


def copied(
    story: Story, page: int, clean: str = "civac", stride: int = 64, kind: int = FULL,
    domain: int = SYSTEM, size: int = PAGE,
) -> None:  # fmt: skip
    """A page as the move copies one; ``story`` is the loop, which begins at the same PC."""
    story.pc = 0x5000_0000
    at = BASE + page * PAGE
    story.load(SOURCE + page * 8, 8).load(SOURCE + page * PAGE, PAGE)
    story.store(at, size).dc(clean, at, PAGE, stride=stride).dsb(kind, domain)


def cleared(story: Story, page: int, source: int, name: str = "ivac", size: int = PAGE) -> None:
    """A page as the move copies one with the MMU off."""
    story.pc = 0x5000_1000
    at = BASE + page * PAGE
    story.load(SOURCE + page * 8, 8).dc(name, at, size).dsb().load(source, PAGE).store(at, PAGE)


def state(followed: Coherence) -> dict[str, Any]:
    """All that the model knows at the end."""
    names = ("writer", "pending", "stale", "maintained", "around", "cached", "stored", "cleaned")
    kept: dict[str, Any] = {}
    for chunk in followed._lines.chunks():
        for name in names:
            plane = getattr(chunk, name)
            # Instructions are numbered as they come: by their own addresses they are the same.
            if name in ("writer", "pending", "stale", "maintained"):
                plane = np.array(followed._pcs, np.uint64)[plane] + np.where(plane < 3, plane, 0)
            kept[f"{name} {chunk.base:#x}"] = plane.tolist()
    pcs = followed._pcs
    kept["cleaner"] = {pcs[who]: pcs[by] for who, by in followed._cleaner.items()}
    kept["lapses"] = [str(one) for one in followed.lapses._found.values()]
    kept["waiting"] = len(followed._pending), len(followed._weak), followed._partial
    ordering = followed._ordering
    kept["order"] = ordering._through, ordering._around, ordering._barrier
    return kept


def both(
    trace: Trace, before: int | None = None, history: Prehistory = HISTORY
) -> tuple[Coherence, Coherence, int]:
    """``trace`` followed in stretches and one by one, and how many records were told at once."""
    end = len(trace.records)
    delivered = [Delivered(0, True, BASE, PAGES * PAGE, end)]
    if before is not None:
        delivered.insert(0, Delivered(1, True, BASE, 4 * PAGE, min(before, end)))
    told: list[int] = []
    settle = Coherence._settle

    def counted(self: Coherence, stretches: Stretches, stretch: Stretch) -> bool:
        done = settle(self, stretches, stretch)
        told.append(stretch.end - stretch.begin if done else 0)
        return done

    with patch.object(Coherence, "_settle", counted):
        together = Coherence(trace, history, delivered)
    with patch.object(settled, "FEWEST", NEVER):
        apart = Coherence(trace, history, delivered)
    return together, apart, sum(told)


def test_a_good_move_is_told_at_once() -> None:
    story = Story()
    for page in reversed(range(PAGES)):
        copied(story, page)
    together, apart, told = both(story.fetchable().trace())
    assert told == PAGES * 5
    assert state(together) == state(apart)
    assert not together.lapses._found


def around(story: Story) -> None:
    """A store around the caches, which hold nothing, to pages that are copied to later."""
    story.mmu_off()
    story.dc("ivac", BASE + 2 * PAGE, 18 * PAGE).dsb()
    story.store(BASE + 2 * PAGE, 2 * PAGE).dmb()
    story.mmu_on()
    story.fetch(SOURCE, 64)


def emptied(story: Story) -> None:
    """Lines that no cache can hold any more, until the MMU is on again."""
    story.mmu_off()
    story.dc("ivac", BASE + 2 * PAGE, 18 * PAGE).dsb()
    story.mmu_on()


def emptying(story: Story) -> None:
    """The same, and the DSB comes with the first copy."""
    story.mmu_off()
    story.dc("ivac", BASE + 12 * PAGE, 4 * PAGE)
    story.mmu_on()
    story.fetch(SOURCE, 64)


def narrow(story: Story) -> None:
    """Maintenance that is complete for the inner shareable domain only."""
    story.store(BASE, PAGE).dc("civac", BASE, PAGE).dsb(domain=INNER)


def waiting(story: Story) -> None:
    """Maintenance that no DSB has completed."""
    story.store(BASE, PAGE).dc("civac", BASE, PAGE)


@pytest.mark.parametrize("first", [around, emptied, emptying, narrow, waiting])
def test_what_was_before_counts(first: Callable[[Story], None]) -> None:
    story = Story()
    first(story)
    for page in range(1, 6):
        copied(story, page)
    together, apart, _ = both(story.trace())
    assert state(together) == state(apart)


def test_so_is_one_with_the_mmu_off() -> None:
    story = Story().mmu_off().isb()
    for page in reversed(range(PAGES)):
        cleared(story, page, BASE + page % 8 * PAGE)
    together, apart, told = both(story.fetchable().trace(), history=ALL_CLEAN)
    assert told == PAGES * 5
    assert state(together) == state(apart)
    assert not together.lapses._found


WRITE_THROUGH = WRITE_BACK & ~0xFF | 0xAA


def written_through(story: Story) -> None:
    """Without a barrier an invalidation with the MMU off may come before it."""
    story.attributes = WRITE_THROUGH
    story.store(BASE + 2 * PAGE, PAGE)


def mixed(story: Story) -> None:
    """A store to Non-cacheable memory, which loads from Device memory may come before."""
    story.mmu_off().dc("ivac", SOURCE, PAGE).dsb()
    story.attributes = NON_CACHEABLE
    story.store(SOURCE, PAGE)


def dirty(story: Story) -> None:
    """What an invalidation would lose; the store is in order with it."""
    story.store(BASE + 3 * PAGE, PAGE).dsb()


def dirty_source(story: Story) -> None:
    story.store(SOURCE, PAGE).dsb()


@pytest.mark.parametrize("first", [None, written_through, mixed, dirty, dirty_source])
@pytest.mark.parametrize("above", [0, 1])
def test_what_was_before_counts_with_the_mmu_off(
    first: Callable[[Story], None] | None, above: int
) -> None:
    story = Story().starting(SCTLR_EL2=above)
    if first:
        first(story)
    story.mmu_off()
    for page in range(1, 6):
        cleared(story, page, SOURCE)
    # Whatever is mapped again may be cached again.
    story.mmu_on()
    story.load(SOURCE, 64)
    together, apart, told = both(story.trace(), history=ALL_CLEAN)
    assert state(together) == state(apart)
    assert bool(told) == (not first and not above)


@pytest.mark.parametrize(
    ("at", "size", "flags", "kind"),
    [
        (0, 1024, 0, LapseKind.DISCARDED),
        (1024, 2048, 0, LapseKind.DISCARDED),
        (0, PAGE, UNALIGNED, LapseKind.FORBIDDEN),
    ],
)
def test_parts_of_granules_and_unaligned_loads_are_told_one_by_one(
    at: int, size: int, flags: int, kind: LapseKind
) -> None:
    story = Story()
    if size < PAGE:
        # Beside what is dropped, in its granule.
        story.store(BASE + 4 * PAGE + (at + size) % 4096, 64).dsb()
    story.mmu_off()
    for page in range(5):
        to = BASE + page * PAGE + at
        story.load(SOURCE, 64, flags=flags).dc("ivac", to, size).dsb().store(to, size)
    together, apart, told = both(story.trace(), history=ALL_CLEAN)
    assert state(together) == state(apart)
    assert not told
    assert kind in {one.kind for one in together.lapses._found.values()}


COPY = st.fixed_dictionaries(
    {"page": st.integers(0, PAGES - 1)},
    optional={
        "clean": st.sampled_from(["civac", "cvac", "cvap", "cvau", "ivac"]),
        "stride": st.sampled_from([16, 32, 64, 128]),
        "kind": st.sampled_from([FULL, FULL, LOADS]),
        "domain": st.sampled_from([SYSTEM, SYSTEM, INNER]),
        "size": st.sampled_from([PAGE, PAGE, 2048, 4112]),
    },
)
RUN = st.tuples(st.just("run"), st.integers(0, PAGES - 6), st.sampled_from(["civac", "cvac"]))
CLEARED = st.fixed_dictionaries(
    {
        "page": st.integers(0, PAGES - 1),
        "source": st.sampled_from([SOURCE, BASE, BASE + 10 * PAGE]),
    },
    optional={"name": st.sampled_from(["ivac", "civac"]), "size": st.sampled_from([PAGE, 2048])},
)
RUN_OFF = st.tuples(st.just("run off"), st.integers(0, PAGES - 6), st.sampled_from([SOURCE, BASE]))
BESIDE = st.one_of(
    RUN,
    RUN_OFF,
    st.tuples(st.just("copy"), COPY),
    st.tuples(st.just("cleared"), CLEARED),
    st.tuples(st.just("ivac"), st.integers(0, PAGES - 1)),
    st.tuples(st.just("store"), st.integers(0, PAGES - 1)),
    st.tuples(st.just("around"), st.integers(0, PAGES - 1)),
    st.tuples(st.just("load"), st.integers(0, PAGES - 1)),
    st.tuples(st.sampled_from(["off", "on", "fetch", "dmb", "uncached", "cached"])),
)


@given(
    line=st.sampled_from([16, 64, 256, 2048]),
    steps=st.lists(BESIDE, max_size=10),
    before=st.none() | st.integers(0, 120),
)
def test_many_at_once_are_as_one_by_one(
    line: int, steps: list[tuple[Any, ...]], before: int | None
) -> None:
    story = Story(line=line)
    for step in steps:
        match step:
            case ("run", first, clean):
                for page in range(first, first + 6):
                    copied(story, page, clean)
            case ("run off", first, source):
                story.mmu_off()
                for page in range(first, first + 6):
                    cleared(story, page, source)
            case ("cleared", how):
                cleared(story, **how)
            case ("copy", how):
                copied(story, **how)
            case ("ivac", page):
                story.dc("ivac", BASE + page * PAGE, PAGE)
            case ("store", page):
                story.store(BASE + page * PAGE, 256)
            case ("load", page):
                story.load(BASE + page * PAGE, 256)
            case ("around", page):
                story.attributes, kept = NON_CACHEABLE, story.attributes
                story.store(BASE + page * PAGE, 256)
                story.attributes = kept
            case ("off",):
                story.mmu_off()
            case ("on",):
                story.mmu_on()
            case ("fetch",):
                story.fetch(BASE, 64)
            case ("dmb",):
                story.dmb()
            case ("uncached",):
                story.attributes = NON_CACHEABLE
            case ("cached",):
                story.attributes = WRITE_BACK
    together, apart, _ = both(story.trace(), before)
    assert state(together) == state(apart)
