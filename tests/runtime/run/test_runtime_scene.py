"""The scene forgives nothing: what no contract promises at the jump is no right answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.codegen.facts import POISON, RELOCATION
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.judge.book import judge
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.record.record import JumpFacts
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu, prepare_machine
from support.edits import edited
from support.machines import prepared, programs, quiet

JOB = Job(size=64 << 10, memory=128 * MIB, max_instructions=200_000)
NEGATIVE, FLAGS = 1 << 31, 0xF << 28


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("series", range(16))
def test_registers_hold_arguments_and_poison_at_the_jump(regime: Regime, series: int) -> None:
    target = Target(regime=regime, series=series)
    with prepared(target, JOB) as machine:
        record = execute(machine, open_cpu(machine), JOB, quiet)
        linear, pa = machine.kimage.va, machine.kimage.pa
    assert isinstance(record.jump, JumpFacts)
    cpu = record.jump.cpu
    # The contract: kimage, or with an MMU that is off what the soft restart passes on, and leaves.
    arguments = {0, 9} if series >= 12 else {0, 1, 2, 3, 4, 8, 12, 27}
    if 7 <= series < 12:
        assert cpu.x[:4] == (pa, 0, 0, 0)
    if series >= 12:
        assert cpu.x[0] == linear
    for number in range(30):
        if number not in arguments:
            assert cpu.x[number] == POISON + (number + 32 if number < 29 else 0)
    # At EL2 the stub was in between, with a stack pointer and comparisons of its own.
    if cpu.el == machine.state.el:
        assert cpu.sp == POISON
        assert cpu.pstate & FLAGS == NEGATIVE


def test_poison_is_no_address() -> None:
    for bits in (36, 39, 42, 47, 48, 52):
        assert 0 != POISON >> bits != (1 << 64 - bits) - 1
    assert POISON % 4096 == 0


@pytest.mark.parametrize("path", [KexecPath.IN_PLACE, KexecPath.CRASH])
def test_registers_of_an_image_in_place(path: KexecPath) -> None:
    job = Job(size=64 << 10, memory=128 * MIB, path=path)
    with prepared(Target(), job) as machine:
        record = execute(machine, open_cpu(machine), job, quiet)
    assert record.complete
    assert set(record.reached[0].x[5:8]) == {POISON + 37, POISON + 38, POISON + 39}


@pytest.mark.parametrize(("series", "test"), [(9, "cbz x27, #0xd4"), (15, "cbz x27, #0x100")])
def test_there_is_no_el2_where_the_kernel_was_entered_at_el1(series: int, test: str) -> None:
    """So a call that nobody answers is UNDEFINED, as on a machine whose firmware takes none."""
    target = Target(regime=Regime.EL1, series=series)
    built = programs(target)
    kernel = edited(built.kernel, RELOCATION, [[test, "nop"]])
    machine = prepare_machine(target, replace(built, kernel=kernel), JOB, quiet)
    try:
        cpu = open_cpu(machine)
        record = execute(machine, cpu, JOB, quiet)
    finally:
        machine.close()
    assert record.scene is not None
    assert record.scene.is_hvc
    event = record.scene.stop.event
    assert event is not None
    assert (event.exception_class, event.target_el, event.source_el) == (0, 1, 1)
    assert event.return_address == record.scene.stop.pc
    assert judge(record).findings[0].rule == "exception.undefined"
