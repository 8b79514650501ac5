"""Engines that are used again: as new, byte for byte, or not at all."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import arm64_const as a64

from relokit.codegen.base.documents import to_json
from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import REGISTERS
from relokit.codegen.target import Target
from relokit.runtime.engine import engines
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.engines import Engine, open_engine
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.record.stop import StopReason
from relokit.runtime.run.verdict import run
from support.devices import nothing_at
from support.machines import programs, quiet

HEADER = 40
"""Bytes before the registers in what an engine saves: sizes, and pointers."""
RAM, SIZE = 0x4000_0000, 1 << 20
NOP, MOV_X0_7, BRK = 0xD503201F, 0xD28000E0, 0xD4200000
DBGBCR0, DBGWCR3 = 0b10 << 14 | 0b101, 0b10 << 14 | 3 << 3 | 0b111


@pytest.fixture(autouse=True)
def none_idle() -> Iterator[None]:
    engines._idle.clear()
    yield
    engines._idle.clear()


@pytest.fixture(scope="module")
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(RAM, SIZE) as memory:
        yield memory


def registers_of(engine: Engine) -> bytes:
    """All that the engine itself saves of its CPU."""
    context = engine.uc.context_save()
    address = ctypes.cast(context._context, ctypes.c_void_p).value
    return ctypes.string_at(address, context.size)[HEADER:]


@settings(deadline=None, max_examples=30)
@given(
    model=st.sampled_from(["a72", "max"]),
    values=st.dictionaries(
        st.sampled_from(sorted(REGISTERS)), st.integers(0, (1 << 64) - 1), max_size=40
    ),
    x=st.lists(st.integers(0, (1 << 64) - 1), min_size=31, max_size=31),
    vector=st.integers(0, (1 << 128) - 1),
    el=st.integers(0, 2),
)
def test_whatever_was_in_its_registers_is_gone(
    memory: GuestMemory, model: str, values: dict[str, int], x: list[int], vector: int, el: int
) -> None:
    fresh = registers_of(Engine(model, memory))
    cpu = Cpu(model, memory)
    memory.u64(RAM, 2)[:] = NOP << 32 | MOV_X0_7
    assert cpu.run(RAM, until=RAM + 8, max_instructions=10, timeout_s=5).instructions == 2
    for name, value in values.items():
        try:
            cpu.write(name, value)
        except MachineError:
            continue
    for number, value in enumerate(x):
        cpu.set_x(number, value)
    cpu.uc.reg_write(a64.UC_ARM64_REG_V7, vector)
    cpu.set_el(el)
    dirty = any(cpu.value(key) & 1 for key in cpu._engine._debug)
    cpu.retire()
    assert (model in engines._idle) == (not dirty)
    if not dirty:
        engine = open_engine(model, memory)
        assert engine.uc is cpu.uc
        assert registers_of(engine) == fresh


def test_the_next_guest_runs_its_own_code(memory: GuestMemory) -> None:
    """Translated code, the TLB and hooks of the one before are gone."""
    first = Cpu("max", memory)
    memory.u64(RAM, 1)[0] = NOP << 32 | MOV_X0_7
    told = []
    first.on_exception = told.append
    first.run(RAM, until=RAM + 8, max_instructions=10, timeout_s=5)
    first.retire()
    memory.u64(RAM, 1)[0] = NOP << 32 | BRK
    second = Cpu("max", memory)
    assert second.uc is first.uc
    stop = second.run(RAM, until=RAM + 8, max_instructions=10, timeout_s=5)
    assert stop.reason is StopReason.EXCEPTION
    assert second.x(0) == 0
    assert told == []


@pytest.mark.parametrize("key", [DBGBCR0, DBGWCR3])
def test_one_with_a_breakpoint_is_not_used_again(memory: GuestMemory, key: int) -> None:
    cpu = Cpu("a72", memory)
    cpu.write_key(key, 1)
    cpu.retire()
    assert engines._idle == {}


def test_one_with_more_than_ram_is_not_used_again(memory: GuestMemory) -> None:
    cpu = Cpu("a72", memory)
    cpu.map_device(nothing_at(0x900_0000))
    cpu.retire()
    assert engines._idle == {}


def test_another_guest_gets_a_fresh_one(memory: GuestMemory) -> None:
    with GuestMemory(RAM, SIZE) as elsewhere, GuestMemory(RAM, 2 * SIZE) as larger:
        for other in (elsewhere, larger):
            cpu = Cpu("a72", memory)
            cpu.retire()
            assert open_engine("a72", other).uc is not cpu.uc
    cpu = Cpu("a72", memory)
    cpu.retire()
    assert open_engine("max", memory).uc is not cpu.uc


def told(outcome: Outcome) -> bytes:
    relocation = replace(outcome.relocation, seconds=0.0)
    return to_json(replace(outcome, timings={}, relocation=relocation))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("regime", ["nvhe", "vhe"])
def test_outcomes_are_those_of_fresh_engines(
    regime: str, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order guests of all paths follow each other."""
    target = Target(regime=regime)
    jobs = [Job(path=path, plain=plain, observe=True) for path in KexecPath]
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "give_back", lambda _: None)
        fresh = [told(run(target, programs(target), job, quiet)) for job in jobs]
    order = np.random.default_rng(0).permutation(len(jobs) * 2) % len(jobs)
    used = 0
    for number in order:
        idle = dict(engines._idle)
        assert told(run(target, programs(target), jobs[number], quiet)) == fresh[number]
        used += any(engines._idle.get(model) is one for model, one in idle.items())
    assert used, "none was used again: the host gives out RAM at another address each time"


def test_a_guest_that_fails_keeps_its_engine() -> None:
    target = Target(regime="el1")
    outcome = run(target, programs(target), Job(max_instructions=100), quiet)
    assert not outcome.passed
    assert engines._idle == {}
