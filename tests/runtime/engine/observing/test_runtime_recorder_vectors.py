"""What the recorder tells of exceptions that might come: masks, vectors, and where returns lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relokit.runtime.arch.exceptions import DELIVER
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.record.stop import StopReason
from relokit.runtime.record.trace import NO_PA, Records, Trace, TraceFlag, TraceKind

MakeBench = Callable[..., Any]
RAM, CODE, VECTORS = 0x4000_0000, 0x4010_0000, 0x4030_0000
DAIF, ALL, SPSEL = 6, 0xF << 6, 1
ERET, B, UDF = 0xD69F03E0, 0x14000000, 0


def recorded(bench: Any, text: str, **registers: int) -> Trace:
    for name, value in registers.items():
        bench.cpu.set_x(int(name[1:]), value)
    with Recorder(bench.cpu) as recorder:
        assert bench.run(text).reason is StopReason.REACHED
    return recorder.trace()


def told(trace: Trace) -> Records:
    return trace.of(TraceKind.VECTORS)


def test_it_is_told_at_the_start_and_then_when_it_changes(bench: MakeBench) -> None:
    one = bench()
    one.cpu.write("VBAR_EL1", VECTORS)
    one.load("eret", VECTORS + 0x280)
    trace = recorded(one, "nop; msr daifclr, #2; nop; msr daifclr, #2; msr daifset, #6; isb; nop")
    rows = told(trace)
    assert [int(at) for at in rows["pc"]] == [CODE, CODE + 8, CODE + 20]
    assert [int(bits) >> DAIF & 0xF for bits in rows["encoding"]] == [0b1111, 0b1101, 0b1111]
    assert [int(at) for at in rows["before"]] == [0, 2, 5]
    for row in rows:
        assert (row["va"], row["pa"], row["el"], row["value"]) == (VECTORS, VECTORS, 1, ERET)
        assert row["flags"] == TraceFlag.EXECUTABLE
        assert row["encoding"] & SPSEL


@pytest.mark.parametrize(
    ("vbar", "pa", "flags"),
    [
        (VECTORS + 0x800, VECTORS + 0x800, TraceFlag.EXECUTABLE),
        (RAM - 0x1000, RAM - 0x1000, 0),
        (0xFFFF_8000_0000_0000, NO_PA, TraceFlag.NO_PA),
    ],
)
def test_where_vbar_leads_with_the_mmu_off(
    bench: MakeBench, vbar: int, pa: int, flags: int
) -> None:
    trace = recorded(bench(), "msr vbar_el1, x1; nop", x1=vbar)
    row = told(trace)[-1]
    assert (int(row["pc"]), int(row["va"])) == (CODE + 4, vbar)
    assert (int(row["pa"]), int(row["flags"]), int(row["value"])) == (pa, flags, UDF)


def test_of_a_level_its_own_vectors_are_told(bench: MakeBench) -> None:
    one = bench()
    one.load("eret", VECTORS + 0x400)
    one.load("b .", VECTORS + 0x280)
    one.cpu.write("VBAR_EL2", VECTORS)
    one.cpu.policy = DELIVER
    trace = recorded(one, "msr daifclr, #1; hvc #0; nop", x0=5)
    assert [
        (int(row["el"]), int(row["va"]), int(row["encoding"]) >> DAIF & 0xF) for row in told(trace)
    ] == [(1, 0, 0b1111), (1, 0, 0b1110), (2, VECTORS, 0b1111), (1, 0, 0b1110)]
    assert int(told(trace)[2]["value"]) == B
    [back] = trace.of(TraceKind.ERET)
    assert (int(back["va"]), int(back["encoding"])) == (CODE + 8, ALL & ~(1 << DAIF) | 0b0101)
    assert (back["el"], back["value"]) == (2, 5)


def test_of_el0_the_kernels_are_told(bench: MakeBench) -> None:
    one = bench()
    one.cpu.write("VBAR_EL1", VECTORS)
    one.load("b .", VECTORS + 0x480)
    one.cpu.set_el(0)
    [row] = told(recorded(one, "nop"))
    assert (int(row["el"]), int(row["va"]), int(row["value"])) == (1, VECTORS, B)
