"""Leg by leg: the CPU is as it was left, a purgatory that takes longer than is recorded ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.kexec.old_kernel import CpuState
from relokit.runtime.record.record import LegName, Limits
from relokit.runtime.record.stations import Promise, StationRole
from relokit.runtime.record.stop import StopReason
from relokit.runtime.run.journey import Journey, cpu_in_state

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


@pytest.mark.parametrize("regime", [Regime.EL1, Regime.NVHE, Regime.VHE])
@pytest.mark.parametrize("own", [True, False])
def test_a_cpu_goes_on_with_the_stack_that_it_had(regime: Regime, own: bool) -> None:
    """At EL1 without an EL2, too: 5.10 out of QEMU went on with another (SP was a bank's)."""
    el = 2 if regime is Regime.VHE else 1
    stacks = {"SP_EL0": 0x4444_0000, f"SP_EL{el}": 0x5555_0000}
    state = CpuState(el, CODE, (0,) * 31, tuple(stacks.items()), pstate=0x3C0 | el << 2 | own)
    with GuestMemory(0x4000_0000, 4 << 20) as memory:
        memory.write_u64(CODE, 0x9100_03E0)  # mov x0, sp
        cpu = cpu_in_state(Target(regime=regime), "max", memory, state)
        stop = cpu.run(CODE, until=CODE + 4, max_instructions=1, timeout_s=5)
        assert stop.reason is StopReason.REACHED
        assert cpu.el == el
        assert cpu.x(0) == stacks[f"SP_EL{el}" if own else "SP_EL0"]
