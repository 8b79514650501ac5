"""The CPU: counting, bounds, registers and stacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.engine import cpu, engine_fault, native_hooks
from relokit.runtime.engine.block_count import NEVER
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.spinning import is_endless
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.record.stop import StopReason

RAM, CODE = 0x4000_0000, 0x4010_0000
MakeBench = Callable[..., Any]


# Counting and bounds ----------------------------------------------------------------------------


def test_instructions_are_counted_exactly(bench: MakeBench) -> None:
    b = bench()
    stop = b.run("mov x0, #100\nloop: subs x0, x0, #1\nb.ne loop\nnop\nnop")
    assert stop.reason is StopReason.REACHED
    assert stop.instructions == 1 + 200 + 2
    assert b.cpu.x(0) == 0
    assert stop.pc == CODE + 20


def test_a_block_left_by_a_fault_counts_what_completed(bench: MakeBench) -> None:
    b = bench()
    stop = b.run("nop\nnop\nmov x1, #1\nldr x0, [x1]\nnop\nnop")
    assert stop.reason is StopReason.UNMAPPED
    assert (stop.pc, stop.instructions) == (CODE + 12, 3)
    assert stop.access is not None
    assert (stop.access.kind, stop.access.pa, stop.access.size) == ("read", 1, 8)


def test_until_moves_between_runs_of_the_same_code(bench: MakeBench) -> None:
    b = bench()
    # The engine translates the block it starts with anew; one that is branched to stays.
    end = b.load("nop\nb next\nnext: " + "nop\n" * 6)
    for until in (end, CODE + 8, CODE + 20, end, CODE + 4):
        stop = b.cpu.run(CODE, until=until, max_instructions=100, timeout_s=5)
        assert (stop.reason, stop.pc) == (StopReason.REACHED, until)
        assert stop.instructions == (until - CODE) // 4


def test_nothing_runs_when_the_end_is_the_start(bench: MakeBench) -> None:
    b = bench()
    b.load("mov x0, #1")
    stop = b.cpu.run(CODE, until=CODE, max_instructions=100, timeout_s=5)
    assert (stop.reason, stop.instructions, b.cpu.x(0)) == (StopReason.REACHED, 0, 0)


def test_the_instruction_limit_ends_a_runaway(bench: MakeBench) -> None:
    b = bench()
    stop = b.run("loop: add x0, x0, #1\nadd x1, x1, #1\nb loop", max_instructions=30_000)
    assert stop.reason is StopReason.INSTRUCTION_LIMIT
    assert stop.instructions == 30_000
    assert b.cpu.x(0) == 10_000


def test_the_clock_ends_a_runaway(bench: MakeBench) -> None:
    b = bench()
    stop = b.run("loop: add x0, x0, #1\nnop\nb loop", max_instructions=1 << 60, timeout_s=0.05)
    assert stop.reason is StopReason.TIMEOUT
    assert 0.04 < stop.seconds < 60
    assert abs(stop.instructions - 3 * b.cpu.x(0)) <= 3


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("spin: b spin", 1),
        ("spin: cbz xzr, spin", 1),
        ("spin: tbz x0, #0, spin", 1),
        ("spin: b.eq spin", 1),
        ("spin: nop\nhint #34\nb spin", 3),
        ("spin: " + "nop\n" * 31 + "b spin", 32),
    ],
)
def test_a_loop_without_an_end_is_recognised_at_once(
    bench: MakeBench, text: str, size: int
) -> None:
    b = bench()
    b.cpu.set_pstate(b.cpu.pstate | 1 << 30)  # Z
    stop = b.run(text, max_instructions=1 << 60, timeout_s=30)
    assert (stop.reason, stop.pc) == (StopReason.SPIN, CODE)
    assert stop.instructions <= size * (native_hooks.SPIN_REPEATS + 1)


def test_a_loop_of_two_blocks_without_an_end_is_recognised(bench: MakeBench) -> None:
    """YIELD ends a block: none follows itself."""
    stop = bench().run("spin: yield\nb spin", max_instructions=1 << 60, timeout_s=30)
    assert (stop.reason, stop.instructions) == (StopReason.SPIN, native_hooks.LOOK_EVERY)


@pytest.mark.parametrize("body", ["nop", "nop\nadd x1, x1, #1", "dsb sy"])
def test_a_long_loop_is_none(bench: MakeBench, body: str) -> None:
    b = bench()
    stop = b.run(f"mov x0, #50000\nloop: {body}\nsub x0, x0, #1\ncbnz x0, loop")
    size = 3 + body.count("\n")
    assert (stop.reason, stop.instructions) == (StopReason.REACHED, 1 + 50_000 * size)
    assert b.cpu.x(1) == (50_000 if "add" in body else 0)


def test_a_long_loop_is_looked_at_once(bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def look(fetch: Callable[[int], int | None], pc: int) -> bool:
        looked.append(pc)
        return is_endless(fetch, pc)

    monkeypatch.setattr(cpu, "is_endless", look)
    assert bench().run("mov x0, #50000\nloop: sub x0, x0, #1\ncbnz x0, loop").reason == "reached"
    assert looked == [CODE + 4]


def test_two_long_loops_take_turns(bench: MakeBench) -> None:
    b = bench()
    stop = b.run(
        "mov x2, #5\nagain: mov x0, #9000\none: sub x0, x0, #1\ncbnz x0, one\n"
        "mov x0, #9000\ntwo: sub x0, x0, #1\nnop\ncbnz x0, two\nsub x2, x2, #1\ncbnz x2, again"
    )
    assert stop.reason is StopReason.REACHED
    assert stop.instructions == 1 + 5 * (1 + 18_000 + 1 + 27_000 + 2)


def test_wfi_waits_for_ever(bench: MakeBench) -> None:
    stop = bench().run("nop\nwfi\nnop")
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.HALTED, CODE + 8, 2)


def test_a_jump_out_of_ram_is_a_fetch_from_nowhere(bench: MakeBench) -> None:
    stop = bench().run("mov x0, #0x1000\nbr x0")
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.UNMAPPED, 0x1000, 2)
    assert stop.access is not None
    assert (stop.access.kind, stop.access.pa) == ("fetch", 0x1000)


HOLE = RAM + (2 << 20)
BEYOND = RAM + (4 << 20)


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (HOLE - 8, StopReason.REACHED),
        (HOLE, StopReason.UNMAPPED),
        (BEYOND - 8, StopReason.UNMAPPED),
        (BEYOND, StopReason.REACHED),
    ],
)
@pytest.mark.parametrize("text", ["ldr x1, [x0]", "str x1, [x0]"])
def test_nothing_answers_between_two_banks(
    bench: MakeBench, text: str, at: int, reason: StopReason
) -> None:
    b = bench(banks=((RAM, 2 << 20), (BEYOND, 1 << 20)))
    b.cpu.set_x(0, at)
    assert b.run(text).reason is reason
    stop = b.run("br x0", max_instructions=1)
    assert stop.reason is (StopReason.INSTRUCTION_LIMIT if reason is StopReason.REACHED else reason)


def test_runs_are_independent(bench: MakeBench) -> None:
    b = bench()
    assert b.run("spin: b spin").reason is StopReason.SPIN
    assert b.run("mov x1, #1\nldr x0, [x1]").reason is StopReason.UNMAPPED
    stop = b.run("nop\nnop")
    assert (stop.reason, stop.instructions, stop.access, stop.event) == (
        StopReason.REACHED, 2, None, None,
    )  # fmt: skip


# Bad requests -----------------------------------------------------------------------------------


def test_what_cannot_be_built_is_refused() -> None:
    memory = GuestMemory(RAM, 1 << 20)
    with pytest.raises(MachineError, match="no CPU model 'z80'"):
        Cpu("z80", memory)
    with pytest.raises(MachineError, match="cache line"):
        Cpu("a72", memory, cache_line=48)


def test_unknown_registers_raise(bench: MakeBench) -> None:
    b = bench()
    with pytest.raises(KeyError, match="NOPE_EL1"):
        b.cpu.read("NOPE_EL1")
    with pytest.raises(MachineError, match="no TTBR1_EL2"):
        b.cpu.read("TTBR1_EL2")
    with pytest.raises(MachineError, match="no TTBR1_EL2"):
        b.cpu.write("TTBR1_EL2", 1)


# Registers and stacks ---------------------------------------------------------------------------


def test_general_registers_go_in_and_out(bench: MakeBench) -> None:
    b = bench()
    for number in range(31):
        b.cpu.set_x(number, (number << 56) + number)
    assert b.run("add x30, x30, x29").reason is StopReason.REACHED
    values = [(number << 56) + number for number in range(31)]
    values[30] = (59 << 56) + 59
    assert list(b.cpu.registers) == values


def test_changing_level_switches_stacks(bench: MakeBench) -> None:
    b = bench()
    for el in (1, 2, 0):
        b.cpu.set_el(el)
        b.cpu.set_sp(0x1000 + el)
    assert [b.cpu.sp, b.cpu.read("SP_EL1"), b.cpu.read("SP_EL2")] == [0x1000, 0x1001, 0x1002]
    b.cpu.set_el(2)
    assert [b.cpu.read("SP_EL0"), b.cpu.read("SP_EL1"), b.cpu.sp] == [0x1000, 0x1001, 0x1002]
    assert b.run("mov x0, sp\nmsr spsel, #0\nmov x1, sp\nmsr spsel, #1").reason == "reached"
    assert (b.cpu.x(0), b.cpu.x(1)) == (0x1002, 0x1000)


def test_levels_see_their_own_registers(bench: MakeBench) -> None:
    b = bench()
    b.cpu.set_el(2)
    assert b.run("mrs x0, currentel\nmov x1, #0x4000\nmsr vbar_el2, x1").reason == "reached"
    assert (b.cpu.x(0) >> 2, b.cpu.read("VBAR_EL2")) == (2, 0x4000)
    b.cpu.set_el(1)
    stop = b.run("mrs x0, vbar_el2")
    assert stop.reason is StopReason.EXCEPTION
    assert stop.event is not None
    assert stop.event.exception_class == ExceptionClass.UNKNOWN


@pytest.mark.parametrize("line", [16, 32, 64, 128, 2048])
def test_ctr_shows_the_cache_line_asked_for(bench: MakeBench, line: int) -> None:
    b = bench(cache_line=line)
    assert b.run("mrs x0, ctr_el0\nubfx x0, x0, #16, #4\nmov x1, #4\nlsl x0, x1, x0").reason
    assert b.cpu.x(0) == line
    b.run("mrs x0, ctr_el0\nand x0, x0, #0xf\nmov x1, #4\nlsl x0, x1, x0")
    assert b.cpu.x(0) == (2 * line if line < 2048 else 1024)


def test_never_is_not_reached(bench: MakeBench) -> None:
    b = bench()
    b.load("nop\nwfi")
    stop = b.cpu.run(CODE, until=NEVER, max_instructions=100, timeout_s=5)
    assert stop.reason is StopReason.HALTED


def test_an_engine_with_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_fault, "_ALIGNMENT_ABORT", 0x96000022)
    with pytest.raises(MachineError, match="cannot be found"):
        engine_fault._offset.__wrapped__()
