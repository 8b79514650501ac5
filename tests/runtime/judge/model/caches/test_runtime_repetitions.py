"""Maintenance again and again leaves what it leaves once, up to where it was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.judge.model.caches import coherence
from relokit.runtime.judge.model.caches.coherence import Coherence
from relokit.runtime.judge.model.caches.holdings import Delivered
from relokit.runtime.record.prehistory import Prehistory
from support.bounds import cpu_time_below
from support.traces import INNER, Story

BASE, PAGE = 0x4000_0000, 4096
HISTORY = Prehistory(clean=((BASE, BASE + PAGE),), needed=((BASE + PAGE, BASE + 2 * PAGE),))
ACTS: dict[str, Callable[[Story, int], Story]] = {
    "store": lambda story, at: story.store(at, 128),
    "load": lambda story, at: story.load(at, 128),
    "fetch": lambda story, at: story.fetch(at, 64),
    **{
        name: (lambda story, at, name=name: story.dc(name, at, 256))  # type: ignore[misc]
        for name in ("civac", "cvac", "cvau", "ivac", "cvap")
    },
    "by way": lambda story, at: story.dc_by_way("cisw"),
    "ic": lambda story, at: story.ic(),
    "ic of a line": lambda story, at: story.ic_by_address(at, 64),
    "dsb": lambda story, at: story.dsb(),
    "dsb of this CPU": lambda story, at: story.dsb(domain=INNER),
    "dmb": lambda story, at: story.dmb(),
}
PLACES = BASE, BASE + 128, BASE + PAGE, BASE + PAGE + 64


def state(followed: Coherence) -> dict[str, Any]:
    """What the model knows at the end, but for how often it was told that a line is on its way."""
    names = ("writer", "pending", "stale", "maintained", "around", "cached", "stored", "cleaned")
    kept: dict[str, Any] = {
        f"{name} {chunk.base:#x}": getattr(chunk, name).tolist()
        for chunk in followed._lines.chunks()
        for name in names
    }
    ordering = followed._ordering
    kept["cleaner"] = dict(followed._cleaner)
    kept["lapses"] = [str(one) for one in followed.lapses._found.values()]
    kept["order"] = ordering._through, ordering._around, ordering._barrier
    return kept


def told(acts: list[tuple[str, int, int]]) -> Story:
    """Each act at a place, so many times by one instruction."""
    story = Story()
    for number, (name, at, times) in enumerate(acts):
        for _ in range(times):
            story.pc = 0x5000_0000 + 4 * number
            ACTS[name](story, at)
    return story


@given(
    st.lists(
        st.tuples(st.sampled_from([*ACTS]), st.sampled_from(PLACES), st.integers(1, 4)), max_size=12
    ),
    st.integers(0, 30),
)
def test_what_is_left_out_changes_nothing(acts: list[tuple[str, int, int]], before: int) -> None:
    trace = told(acts).trace()
    end = len(trace.records)
    delivered = (
        Delivered(1, True, BASE, PAGE, min(before, end)), Delivered(0, True, BASE, 2 * PAGE, end),
    )  # fmt: skip
    short = Coherence(trace, HISTORY, delivered)
    with patch.object(coherence, "without_repetitions", lambda _, numbers, *__: numbers):
        whole = Coherence(trace, HISTORY, delivered)
    assert state(short) == state(whole)


def test_a_loop_that_never_ends_costs_what_its_first_rounds_do() -> None:
    story = told([("store", BASE, 1), ("civac", BASE, 3), ("dsb", BASE, 1)])
    trace = story.fetchable().trace()
    again = np.repeat(trace.records, [1, 200_000, *[1] * (len(trace.records) - 2)])
    long = type(trace)(again, trace.start, len(again))
    with cpu_time_below(1):
        followed = Coherence(long, HISTORY, (Delivered(0, True, BASE, PAGE, len(again)),))
    assert not followed.lapses._found
