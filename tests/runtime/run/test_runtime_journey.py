"""Leg by leg: a purgatory that takes longer than is recorded comes to its end."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from relokit.runtime.record.record import LegName, Limits
from relokit.runtime.record.stations import Promise, StationRole
from relokit.runtime.record.stop import StopReason
from relokit.runtime.run.journey import Journey

MakeBench = Callable[..., Any]
CODE, LONG = 0x4010_0000, Limits(100_000, 10.0)
PURGATORY, KERNEL = CODE + 4, CODE + 20
HASHES = "nop\nmov x0, #1000\nloop: subs x0, x0, #1\nb.ne loop\nnop\nkernel: nop"
INSTRUCTIONS = 2002


def journey(bench: MakeBench, code: str = HASHES) -> Journey:
    """At a purgatory, entered where nothing is moved; the kernel is behind it."""
    b = bench()
    b.load(code)
    roles = ((StationRole.PURGATORY, PURGATORY), (StationRole.KERNEL, KERNEL))
    promises = tuple(Promise(role=role, pc=pc, el=1, mmu=False) for role, pc in roles)
    guest: Any = SimpleNamespace(state=SimpleNamespace(pc=CODE))
    found = Journey(guest, b.cpu, None, promises)
    found.prelude()
    return found


@pytest.mark.parametrize("pause", [1, 1000, INSTRUCTIONS - 3])
def test_a_long_purgatory_is_recorded_as_far_as_it_pauses(bench: MakeBench, pause: int) -> None:
    found = journey(bench)
    found.onward(LONG, pause)
    assert len(found.reached) == 1, "only the purgatory"
    assert found.going
    found.onward(LONG)
    leg = found.legs[-1]
    assert (leg.name, leg.stop.reason) == (LegName.PURGATORY, StopReason.REACHED)
    assert leg.stop.instructions == INSTRUCTIONS
    # It pauses at the end of a block.
    assert INSTRUCTIONS - pause - 2 <= leg.unrecorded <= INSTRUCTIONS - pause
    assert leg.limits == LONG
    assert len(found.reached) == 2


@pytest.mark.parametrize("pause", [None, INSTRUCTIONS, INSTRUCTIONS + 1])
def test_a_short_one_is_recorded_to_its_end(bench: MakeBench, pause: int | None) -> None:
    found = journey(bench)
    found.onward(LONG, pause)
    found.onward(LONG)
    assert len(found.reached) == 2
    assert [leg.unrecorded for leg in found.legs] == [0, 0]
    assert found.legs[-1].stop.instructions == INSTRUCTIONS


def test_one_that_never_ends_is_stopped_by_its_limit(bench: MakeBench) -> None:
    found = journey(bench, "nop\nnop\nloop: add x0, x0, #1\nnop\nb loop\nkernel: nop")
    found.onward(LONG, 1000)
    found.onward(LONG)
    leg = found.legs[-1]
    assert not found.going
    assert leg.stop.reason is StopReason.INSTRUCTION_LIMIT
    assert leg.unrecorded >= LONG.instructions
    assert len(found.reached) == 1
    assert len(found.legs) == 2
