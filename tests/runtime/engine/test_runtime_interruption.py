"""An interrupt at a chosen moment: taken exactly there, or as soon as it is not masked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from relokit.codegen.facts import HCR_EL2_E2H, HCR_EL2_RW, HCR_EL2_TGE
from relokit.runtime.engine.interruption import Interruption
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.record.interrupt_seen import InterruptSeen
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.record.trace import Trace, TraceKind

MakeBench = Callable[..., Any]
RAM, CODE, VECTORS, DATA = 0x4000_0000, 0x4010_0000, 0x4030_0000, 0x4020_0000
MASKED = 1 << 7
IMO = 1 << 4
HOST = HCR_EL2_E2H | HCR_EL2_TGE | HCR_EL2_RW
COUNTING = "\n".join(["add x1, x1, #1"] * 8)
MARK = "mov x9, x1; eret"


def open_(bench: Any, *, el: int = 1) -> Any:
    """Interrupts unmasked, and handlers that keep x1 in x9."""
    one = bench
    for base in (VECTORS, VECTORS + 0x800):
        for offset in (0x080, 0x280, 0x480):
            one.load(MARK, base + offset)
    one.cpu.write("VBAR_EL1", VECTORS)
    one.cpu.write("VBAR_EL2", VECTORS + 0x800)
    one.cpu.set_el(el)
    one.cpu.set_pstate(one.cpu.pstate & ~MASKED)
    return one


def interrupted(
    one: Any, text: str, at: int, *, record: bool = False
) -> tuple[InterruptSeen, Stop, Trace | None]:
    recorder = Recorder(one.cpu) if record else None
    interruption = Interruption(one.cpu, at)
    with recorder or nullcontext(), interruption:
        stop = one.run(text)
    return interruption.seen(), stop, recorder.trace() if recorder else None


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("at", range(8))
def test_it_comes_before_the_next_instruction(bench: MakeBench, at: int, record: bool) -> None:
    one = open_(bench())
    seen, stop, trace = interrupted(one, COUNTING, at, record=record)
    assert seen == InterruptSeen(at, True, at, CODE + 4 * at, 1)
    assert stop.reason is StopReason.REACHED
    assert (one.cpu.x(9), one.cpu.x(1)) == (at, 8)
    assert (stop.instructions, stop.exceptions) == (8 + 2, 1)
    assert not one.cpu.pstate & MASKED
    if trace is not None:
        [taken] = trace.of(TraceKind.EXCEPTION)
        assert (taken["pc"], taken["before"], taken["encoding"]) == (CODE + 4 * at, at, 0x280)
        assert trace.instructions == 8 + 2


@pytest.mark.parametrize("at", [0, 2, 3, 4])
def test_masked_it_waits_until_it_is_not(bench: MakeBench, at: int) -> None:
    one = open_(bench())
    text = f"msr daifset, #2\n{COUNTING}\nmsr daifclr, #2\n{COUNTING}"
    seen, _, _ = interrupted(one, text, at)
    after = 10 if at else 0
    assert (seen.after, seen.pc) == (after, CODE + 4 * after)
    assert one.cpu.x(9) == (8 if at else 0)


def test_masked_to_the_end_it_is_not_taken(bench: MakeBench) -> None:
    one = bench()
    seen, stop, _ = interrupted(one, COUNTING, 3)
    assert seen == InterruptSeen(3, True)
    assert (stop.exceptions, one.cpu.x(1)) == (0, 8)


def test_a_moment_that_does_not_come_is_told(bench: MakeBench) -> None:
    seen, _, _ = interrupted(open_(bench()), COUNTING, 9)
    assert seen == InterruptSeen(9, False)


def test_another_one_does_not_come_by_itself(bench: MakeBench) -> None:
    one = open_(bench())
    with Interruption(one.cpu, 2):
        one.run(COUNTING)
        assert one.run(COUNTING).exceptions == 0
    assert one.run(COUNTING).exceptions == 0


def test_it_counts_over_several_runs(bench: MakeBench) -> None:
    one = open_(bench())
    interruption = Interruption(one.cpu, 11)
    with interruption:
        assert one.run(COUNTING).exceptions == 0
        assert one.run(COUNTING).exceptions == 1
    assert interruption.seen().pc == CODE + 12


@pytest.mark.parametrize(
    ("el", "hcr", "mask", "taken"),
    [
        (1, HCR_EL2_RW, 0, 1),
        (1, HCR_EL2_RW | IMO, MASKED, 2),
        (2, HCR_EL2_RW, 0, None),
        (2, HCR_EL2_RW | IMO, 0, 2),
        (2, HCR_EL2_RW | IMO, MASKED, None),
        (2, HOST, 0, 2),
        (0, HCR_EL2_RW, 0, 1),
    ],
)
def test_hcr_says_which_level_takes_it(
    bench: MakeBench, el: int, hcr: int, mask: int, taken: int | None
) -> None:
    one = open_(bench("max"), el=el)
    one.cpu.write("HCR_EL2", hcr)
    one.cpu.set_pstate(one.cpu.pstate | mask)
    seen, _, _ = interrupted(one, "nop\nnop", 1)
    assert seen.el == taken
    assert one.cpu.el == el


def test_vectors_that_are_not_there_end_the_run(bench: MakeBench) -> None:
    one = open_(bench())
    one.cpu.write("VBAR_EL1", 0xFFFF_0000_0000_0000)
    seen, stop, trace = interrupted(one, COUNTING, 5, record=True)
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.BAD_VECTOR, CODE + 20, 5)
    assert stop.event is not None
    assert (stop.event.text, stop.event.vector_offset) == ("interrupt", 0x280)
    assert seen.pc == CODE + 20
    assert trace is not None
    assert trace.instructions == 5


def test_what_it_comes_before_has_not_happened_yet(bench: MakeBench) -> None:
    """A call is noted before it is made; a store when the next instruction is."""
    one = open_(bench())
    one.load("eret", VECTORS + 0x800 + 0x400)
    one.cpu.set_x(0, DATA)
    for at, kind in ((0, TraceKind.STORE), (1, TraceKind.HVC)):
        _, stop, trace = interrupted(one, "str x1, [x0]; hvc #0; nop", at, record=True)
        assert stop.reason is StopReason.REACHED
        assert trace is not None
        assert len(trace.of(kind)) == 1
        kinds = trace.records["kind"].tolist()
        assert kinds.index(TraceKind.EXCEPTION) < kinds.index(kind)
        assert trace.instructions == 3 + 2 + 1


def test_no_syndrome_is_written(bench: MakeBench) -> None:
    one = open_(bench())
    one.cpu.write("ESR_EL1", 0x1234)
    interrupted(one, "nop", 0)
    assert one.cpu.read("ESR_EL1") == 0x1234
