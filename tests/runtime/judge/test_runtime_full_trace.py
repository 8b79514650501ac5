"""A trace that had no more room: what it lacks is nothing that was left undone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.runtime.judge.book import judge
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record
from support import records as r
from support.traces import Story
from support.twins import rule_named


def full(record: Record) -> Record:
    return replace(record, trace=replace(known(record.trace), full_at=3))


@pytest.mark.parametrize(
    ("rule", "record"),
    [
        ("caches.image", r.traced(r.moved().store(r.KERNEL, 64).fetchable())),
        ("caches.data", r.traced(r.moved().store(r.DTB, 64).fetchable())),
        ("fetch.image", r.traced(r.moved())),
        ("own.unwritten", r.owned(Story(pc=r.CONTROL).store(r.KERNEL, 64))),
    ],
)
def test_what_is_handed_over_is_not_judged_by_half_of_a_move(rule: str, record: Record) -> None:
    """All of it may have been written, cleaned and invalidated behind the last record."""
    rules = (rule_named(rule),)
    assert [one.rule for one in judge(record, rules).findings] == [rule]
    judged = judge(full(record), rules)
    assert judged.findings == ()
    assert "no more room" in judged.answers.not_judged[rule]


def test_what_was_done_before_stays_found() -> None:
    discarded = Story(pc=r.CONTROL).store(r.KERNEL, r.SIZE).dc("ivac", r.KERNEL, r.SIZE).dsb()
    judged = judge(full(r.traced(discarded)), (rule_named("caches.discard"),))
    assert [one.rule for one in judged.findings] == ["caches.discard"]
    assert "no more room" in judged.answers.not_judged["caches.discard"]
