"""Purgatories that are not ours: they store to what is theirs, and take long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.runtime.judge.book import judge
from relokit.runtime.record.record import Leg, LegName, Record
from relokit.runtime.record.stations import Promise, StationRole
from support import records as r
from support.traces import Story

PURGATORY = r.SPARE
ENTRY = Promise(role=StationRole.PURGATORY, pc=PURGATORY, el=2, mmu=False)


def in_place(story: Story) -> Record:
    """A crash kernel behind a purgatory: nothing is moved."""
    kept = (*r.IN_PLACE, (PURGATORY, PURGATORY + 0x1000))
    record = r.owned(story, filled=(), kept=kept, sources=b"", targets=b"")
    return replace(
        record,
        jump=None,
        promises=(ENTRY, r.BOOTED),
        reached=(replace(r.GOOD.reached[0], pc=PURGATORY), *r.GOOD.reached),
        legs=(Leg(LegName.PRELUDE, r.stop(pc=PURGATORY)), Leg(LegName.PURGATORY, r.stop())),
    )


def stored(record: Record) -> list[str]:
    return [one.message for one in judge(record).findings if one.rule == "own.store"]


@pytest.mark.parametrize("early", [False, True])
def test_a_purgatory_in_place_has_a_stack_that_is_not_the_old_kernels(early: bool) -> None:
    story = Story(pc=r.CONTROL)
    if early:
        story.store(PURGATORY + 0x800, 16)
    story.fetch(PURGATORY).store(PURGATORY + 0x900, 16)
    found = stored(in_place(story))
    assert len(found) == early
    assert all(f"{PURGATORY + 0x800:#x}" in one for one in found), "what the old kernel stored"


def test_what_is_not_recorded_of_a_purgatory_is_not_judged() -> None:
    record = in_place(Story(pc=r.CONTROL).fetch(PURGATORY))
    assert "purgatory" not in judge(record).answers.not_judged
    first, last = record.legs
    long = replace(record, legs=(first, replace(last, unrecorded=800_000_000)))
    answers = judge(long).answers
    assert "last 800,000,000 instructions" in answers.not_judged["purgatory"]
    assert len(answers.applied) == len(judge(record).answers.applied), "all else is"
