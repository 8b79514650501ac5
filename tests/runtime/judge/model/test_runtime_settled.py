"""Many copies told at once leave what they leave one by one, whatever else is among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.judge.model import settled
from relokit.runtime.judge.model.coherence import Coherence
from relokit.runtime.judge.model.holdings import Delivered
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.trace import Trace
from support.traces import FULL, INNER, LOADS, NON_CACHEABLE, SYSTEM, WRITE_BACK, Story

BASE, PAGE, PAGES = 0x4000_0000, 4096, 24
SOURCE = 0x4800_0000
HISTORY = Prehistory(
    clean=((BASE, BASE + 8 * PAGE),), needed=((BASE + 8 * PAGE, BASE + 12 * PAGE),)
)
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


def both(trace: Trace, before: int | None = None) -> tuple[Coherence, Coherence, int]:
    """``trace`` followed in stretches and one by one, and how many copies were told at once."""
    end = len(trace.records)
    delivered = [Delivered(0, True, BASE, PAGES * PAGE, end)]
    if before is not None:
        delivered.insert(0, Delivered(1, True, BASE, 4 * PAGE, min(before, end)))
    told: list[int] = []
    whole = settled.Stretches.copies

    def counted(self: settled.Stretches, begin: int, last: int) -> settled.Copies | None:
        found = whole(self, begin, last)
        told.append(0 if found is None else len(found.pa))
        return found

    with patch.object(settled.Stretches, "copies", counted):
        together = Coherence(trace, HISTORY, delivered)
    with patch.object(settled, "FEWEST", NEVER):
        apart = Coherence(trace, HISTORY, delivered)
    return together, apart, sum(told)


def test_a_good_move_is_told_at_once() -> None:
    story = Story()
    for page in reversed(range(PAGES)):
        copied(story, page)
    together, apart, told = both(story.fetchable().trace())
    assert told == PAGES
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
BESIDE = st.one_of(
    RUN,
    RUN,
    st.tuples(st.just("copy"), COPY),
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
