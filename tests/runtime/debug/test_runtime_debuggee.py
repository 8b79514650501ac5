"""A place in time is a number of instructions, from whichever side one comes to it."""

from __future__ import annotations

import gc
import resource
from pathlib import Path

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Target
from relokit.runtime.debug.debuggee import Debuggee, HaltCause, WatchKind, Watchpoint
from relokit.runtime.debug.description import CPSR, PC
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.stop import StopReason
from relokit.runtime.state.code_copies import code_in_ram
from support.debuggees import debuggee

REGIMES = [Target(regime="el1"), Target(), Target(regime="vhe", page_size=65536)]


def state(one: Debuggee) -> tuple[object, ...]:
    cpu = one.cpu
    system = tuple(one.read_register(number) for number in range(len(one.registers)))
    return one.number, cpu.instruction_at(cpu.pc), system


@pytest.mark.parametrize("target", REGIMES, ids=lambda target: target.regime)
def test_steps_and_jumps_in_time_lead_to_the_same_state(target: Target) -> None:
    with debuggee(target) as one:
        states = [state(one)]
        for number in range(1, 160):
            assert one.step().cause is HaltCause.STEP
            assert one.number == number
            states.append(state(one))
        for number in (159, 0, 1, 84, 83, 120, 82):
            one.go_to(number)
            assert state(one) == states[number]
        assert one.step_back().cause is HaltCause.STEP
        assert state(one) == states[81]


def test_the_end_is_the_same_however_one_comes_there() -> None:
    with debuggee() as one:
        halt = one.go()
        assert halt.cause is HaltCause.OVER
        assert halt.stop is not None
        assert halt.stop.reason is StopReason.REACHED
        end = state(one)
        assert one.go().cause is HaltCause.OVER
        assert one.step_back().cause is HaltCause.STEP
        assert one.number == end[0] - 1
        assert one.step().cause is not HaltCause.BREAKPOINT
        assert state(one) == end
        assert one.go_back().cause is HaltCause.START
        assert one.number == 0
        one.go_to(end[0])
        assert state(one) == end


def test_breakpoints_are_hit_each_time_forwards_and_backwards() -> None:
    with debuggee() as one:
        assert one.jump is not None
        one.go_to_jump()
        jump = one.number
        one.go_to(jump + 60)
        loop = one.cpu.pc
        one.break_at(loop)
        passes = []
        for _ in range(4):
            passes.append(one.number)
            assert one.go().cause is HaltCause.BREAKPOINT
            assert one.cpu.pc == loop
        assert len(set(passes)) == 4
        for number in reversed(passes[1:]):
            assert one.go_back().cause is HaltCause.BREAKPOINT
            assert (one.number, one.cpu.pc) == (number, loop)


def test_a_watchpoint_halts_before_the_store_with_memory_as_it_was() -> None:
    with debuggee() as one:
        one.go_to_jump()
        assert isinstance(one.guest, Machine)
        page = one.guest.inputs.segments[0].segment.mem
        va = page + one.guest.old.linear_offset
        before = one.read(va + 16, 8)
        one.watch(Watchpoint(WatchKind.WRITE, va + 20, 1))
        halt = one.go()
        assert halt.cause is HaltCause.WATCHPOINT
        assert halt.watched == Watchpoint(WatchKind.WRITE, va + 20, 1)
        assert one.read(page + 16, 8, physical=True) == before
        hit = state(one)
        assert one.step().cause is HaltCause.STEP
        assert one.read(page + 16, 8, physical=True) != before
        one.go_to(hit[0] + 100)
        assert one.go_back().cause is HaltCause.WATCHPOINT
        assert one.read(page + 16, 8, physical=True) != before
        one.step_back()
        assert state(one) == hit
        assert one.go_back().cause is HaltCause.START


@pytest.mark.parametrize(
    ("va", "size"), [(0x1000, 8), (0xFFFF_0000_0000_0FFC, 8), (0xFFFF_0000_0000_0000, 0)]
)
def test_what_cannot_be_watched_is_refused(va: int, size: int) -> None:
    with debuggee() as one, pytest.raises(MachineError):
        one.watch(Watchpoint(WatchKind.ACCESS, va, size))


def test_what_is_changed_by_hand_is_changed_again_on_the_way() -> None:
    with debuggee() as one:
        one.go_to(10)
        one.write_register(7, 0x1234)
        one.write(one.guest.old.linear_offset + one.guest.memory.base, b"abcd")
        one.go_to(60)
        changed = state(one)
        one.go_to(59)
        one.step()
        assert state(one) == changed
        assert one.read(one.guest.memory.base, 4, physical=True) == b"abcd"
        one.go_to(9)
        one.go_to(60)
        # What was undone is not done again by another way back.
        one.step_back()
        assert one.read(one.guest.memory.base, 4, physical=True) != b"abcd"


def test_a_loop_without_an_end_comes_to_one() -> None:
    with debuggee(seconds=5) as one:
        one.go_to_jump()
        one.write(one.cpu.pc, bytes.fromhex("00000014"))
        halt = one.go()
        assert halt.stop is not None
        assert halt.stop.reason is StopReason.SPIN


def test_a_pc_that_leads_nowhere_ends_the_way() -> None:
    with debuggee() as one:
        one.go_to_jump()
        one.write_register(PC, 0xDEAD_0000)
        halt = one.go()
        assert halt.cause is HaltCause.OVER
        assert halt.stop is not None
        assert halt.stop.reason is not StopReason.REACHED


def test_there_is_no_el3() -> None:
    with debuggee() as one, pytest.raises(MachineError):
        one.write_register(CPSR, 0x3CD)


def test_where_nothing_is_moved_there_is_no_jump() -> None:
    with debuggee(job=Job(path=KexecPath.IN_PLACE)) as one:
        assert one.jump is None
        with pytest.raises(MachineError):
            one.go_to_jump()
        assert one.go().cause is HaltCause.OVER


ENDLESS = bytes.fromhex("00040091e0ffffb5")
"""``add x0, x0, #1`` and back, until x0 is 0 again."""


def test_whoever_debugs_is_asked_now_and_then() -> None:
    asked = []
    with debuggee(interrupted=lambda: bool(asked.append(1)) or len(asked) == 3) as one:
        one.go_to_jump()
        one.write(one.cpu.pc, ENDLESS)
        begun = one.number
        assert one.go().cause is HaltCause.INTERRUPTED
        assert len(asked) == 3
        assert begun < one.number
        # The place is a place in time like any other.
        here = state(one)
        one.step_back()
        one.step()
        assert state(one) == here


@pytest.mark.parametrize("way", ["go", "go_back", "step_within", "go_to"])
def test_whatever_takes_too_long_is_halted(way: str) -> None:
    with debuggee(job=Job(max_instructions=1 << 33), seconds=0.05) as one:
        one.go_to_jump()
        one.write(one.cpu.pc, ENDLESS)
        loop = one.cpu.pc
        assert one.go().text is not None
        one.break_at(loop + 4)
        here = one.number
        moves = {
            "go": one.go,
            "go_back": one.go_back,
            "step_within": lambda: one.step_within(0, 1 << 63),
            "go_to": lambda: one.go_to(here + 10**9),
        }
        if way != "go_back":
            one.breakpoints.clear()
        halt = moves[way]()
        assert halt.cause is HaltCause.INTERRUPTED
        assert halt.text == "this has taken 0.05 s"


def test_the_most_instructions_are_an_end() -> None:
    with debuggee(job=Job(max_instructions=1 << 16)) as one:
        one.go_to_jump()
        one.write(one.cpu.pc, ENDLESS)
        halt = one.go()
        assert halt.stop is not None
        assert halt.stop.reason is StopReason.INSTRUCTION_LIMIT
        assert one.go_to(one.number + 9).cause is HaltCause.OVER
        one.write_register(0, 1)
        assert one.step().cause is HaltCause.STEP
        assert one.go().cause is HaltCause.OVER


def test_a_stray_way_is_left_by_another_pc() -> None:
    with debuggee() as one:
        jump = one.go_to_jump() and one.cpu.pc
        one.write_register(PC, 0xDEAD_0000)
        assert one.go().cause is HaltCause.OVER
        assert one.step().cause is HaltCause.OVER
        one.step_back()
        one.write_register(PC, jump)
        halt = one.go()
        assert halt.stop is not None
        assert halt.stop.reason is StopReason.REACHED


def test_many_ways_back_leave_nothing_behind() -> None:
    with debuggee() as one:
        one.go_to(200)
        one.step_back()
        before = addresses()
        gc.disable()
        try:
            for _ in range(12):
                one.step_back()
            more = addresses() - before
        finally:
            gc.enable()
        # An engine has a gigabyte of them.
        assert more < 4 << 30


def addresses() -> int:
    """Bytes that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def test_a_resume_is_debugged_like_a_kexec() -> None:
    with debuggee(job=Job(path=KexecPath.HIBERNATE)) as one:
        assert isinstance(one.guest, Resume)
        assert one.go_to_jump().cause is HaltCause.BREAKPOINT
        assert one.cpu.pc == one.guest.jump
        halt = one.go()
        assert halt.stop is not None
        assert (halt.stop.reason, halt.stop.pc) == (StopReason.REACHED, one.guest.entry)
        copies = {copy.name: copy for copy in code_in_ram(one.guest)}
        assert copies["copied_code"].at == one.guest.jump
        names = {symbol.name for symbol in copies["copied_code"].symbols(0)}
        assert names == {"swsusp_arch_suspend_exit"}
