"""What a record may touch at most, before it is judged: bytes, and segments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relokit.codegen.target import MIB
from relokit.runtime.evidence.bounds import too_much
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.record import SegmentPlace
from support.records import GOOD


@pytest.mark.parametrize("fact", ["segments", "prehistory"])
def test_facts_of_more_memory_than_there_is_are_not_judged(fact: str) -> None:
    record = GOOD
    size = 1 << 38
    facts: dict[str, Any] = {
        "segments": (SegmentPlace("much", record.segments[0].kind, 0, size),),
        "prehistory": Prehistory(clean=((0, size),), needed=((0, size),)),
    }
    assert too_much(record) is None
    assert "touches 256.0 GiB" in str(too_much(replace(record, **{fact: facts[fact]})))


def test_more_segments_than_anything_loads_are_not_judged() -> None:
    """Each is looked for in the others: 150,000, of 4 KiB in a file of 14 MiB, took minutes."""
    one = GOOD.segments[0]
    places = tuple(
        SegmentPlace("one", one.kind, 0x4000_0000 + number * 4096, 4096) for number in range(1025)
    )
    assert "1,025 segments" in str(too_much(replace(GOOD, segments=places)))
    assert too_much(replace(GOOD, segments=places[:-1])) is None


def test_what_is_touched_twice_counts_once() -> None:
    record = GOOD
    places = tuple(SegmentPlace("again", record.segments[0].kind, 0, 512 * MIB) for _ in range(400))
    assert too_much(replace(record, segments=places)) is None
