"""After the hand-over: the demo kernel sees what is wrong, and each end has its words."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.handover.boot import BOOT
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.run.console import run_on
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu, prepare_machine
from relokit.runtime.run.verdict import run, run_machine
from support.machines import programs, quiet

JOB = Job(memory=128 * MIB)
SPIN = 0x14000000


def go_on(
    target: Target, spoil: Callable[[Machine, Cpu], None], job: Job = JOB, seconds: float = 0.1
) -> tuple[str, str, list[Finding]]:
    """Relocate, spoil, and let the new kernel run."""
    machine = prepare_machine(target, programs(target), job, quiet)
    try:
        cpu = open_cpu(machine)
        record = execute(machine, cpu, job, quiet)
        assert record.complete
        spoil(machine, cpu)
        running = replace(job, size=None, boot=seconds)
        boot = run_on(machine, cpu, running, quiet, demo=programs(target).demo)
        judged = judge(replace(record, boot=boot), BOOT)
        return boot.console, boot.ended, list(judged.findings)
    finally:
        machine.close()


def nothing(machine: Machine, cpu: Cpu) -> None:
    """As it should be."""


def register(number: int, value: int) -> Callable[[Machine, Cpu], None]:
    return lambda machine, cpu: cpu.set_x(number, value)


def _unaligned_dtb(machine: Machine, cpu: Cpu) -> None:
    cpu.set_x(0, machine.inputs.dtb_at + 4)


def _interrupts_on(machine: Machine, cpu: Cpu) -> None:
    cpu.set_pstate(cpu.pstate & ~(1 << 7))


def _no_frequency(machine: Machine, cpu: Cpu) -> None:
    cpu.write("CNTFRQ_EL0", 0)


def _dtb_word(offset: int, value: int) -> Callable[[Machine, Cpu], None]:
    def spoil(machine: Machine, cpu: Cpu) -> None:
        machine.memory.write(machine.inputs.dtb_at + offset, struct.pack(">I", value))

    return spoil


def _one_bit(machine: Machine, cpu: Cpu) -> None:
    at = machine.start + machine.inputs.segments[0].segment.bufsz // 2
    machine.memory.write_u64(at & -8, machine.memory.read_u64(at & -8) ^ 1 << 40)


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (register(1, 1), "x1, x2 and x3 zero"),
        (register(2, 1 << 63), "x1, x2 and x3 zero"),
        (register(3, 8), "x1, x2 and x3 zero"),
        (register(0, 0), "x0 holds a device tree"),
        (_unaligned_dtb, "device tree on an 8-byte boundary"),
        (_dtb_word(0, 0xD00DFEEE), "device tree magic"),
        (_dtb_word(4, (2 << 20) + 1), "device tree of at most 2 MiB"),
        (_interrupts_on, "all of DAIF masked"),
        (_no_frequency, "CNTFRQ_EL0 programmed"),
        (_one_bit, "every byte of the Image in place"),
    ],
)
def test_the_demo_kernel_sees_what_is_wrong(
    spoil: Callable[[Machine, Cpu], None], said: str, regime: Regime
) -> None:
    console, ended, [finding] = go_on(Target(regime=regime), spoil)
    assert finding.rule == "boot.demo"
    assert "booting.rst" in finding.message
    assert f"relokit demo kernel: FAILED check: {said}" in finding.notes
    assert console.count("FAILED check") == 1
    assert "relokit demo kernel: FAIL\n" in console
    assert "powered off" in ended


@pytest.mark.parametrize("regime", list(Regime))
def test_a_good_machine_is_passed_and_powered_off(regime: Regime) -> None:
    console, ended, findings = go_on(Target(regime=regime), nothing)
    assert findings == []
    level = 1 if regime is Regime.EL1 else 2
    assert console == (f"relokit demo kernel: entered at EL{level}\nrelokit demo kernel: PASS\n")
    assert ended == "powered off: PSCI SYSTEM_OFF"


@pytest.mark.parametrize("word", [SPIN, 0])
def test_a_demo_kernel_that_says_nothing_is_a_finding(word: int) -> None:
    """An undefined instruction ends in the EL2 vectors' slot for it, which spins."""

    def spoil(machine: Machine, cpu: Cpu) -> None:
        machine.memory.write(machine.start, struct.pack("<I", word))

    console, how, findings = go_on(Target(), spoil)
    assert (console, how) == ("", "branch to itself")
    found = {finding.rule: finding for finding in findings}
    assert set(found) == {"boot.parked", "boot.demo"}
    assert found["boot.demo"].cause == "it printed nothing (branch to itself)"


def test_where_a_demo_kernel_stops_has_its_own_symbol_and_line() -> None:
    def spoil(machine: Machine, cpu: Cpu) -> None:
        machine.memory.write(machine.start + 0x40, struct.pack("<I", SPIN))

    _, _, findings = go_on(Target(), spoil)
    [parked] = [finding for finding in findings if finding.rule == "boot.parked"]
    assert (parked.place or "").startswith("demo_entry+0x0 (demo.S.j2:")


def test_a_payload_that_counts_for_ever_is_stopped_by_count() -> None:
    """A synthetic payload is no kernel; here it counts. The count is the same on every host."""

    def spoil(machine: Machine, cpu: Cpu) -> None:
        machine.memory.write(machine.start, struct.pack("<II", 0x91000400, 0x17FFFFFF))

    console, ended, [finding] = go_on(
        Target(), spoil, Job(size=100_000, memory=128 * MIB), seconds=0.01
    )
    assert (console, finding.rule) == ("", "boot.silent")
    assert ended == "stopped after 0.01 s: 2,500,000 instructions"


def test_only_a_move_that_was_judged_well_runs_on() -> None:
    """It would boot all the same: only the empty table, which is used no more, is not empty."""
    job = replace(JOB, boot=10)
    machine = prepare_machine(Target(), programs(Target()), job, quiet)
    try:
        machine.memory.write_u64(machine.old.zero_page, 8)
        outcome = run_machine(machine, job, quiet)
    finally:
        machine.close()
    assert [finding.rule for finding in outcome.findings] == ["setup.zero-page"]
    assert (outcome.console, outcome.ended) == (None, None)
    assert outcome.rules.not_applicable["boot.demo"] == "the new kernel was not let run on"


def test_a_kernel_file_that_is_named_like_the_demo_kernel_is_another_kernel(tmp_path: Path) -> None:
    """What is asked of the demo kernel depends on what it is, not on a name."""
    image = struct.pack("<IIQQQ24x4sI", 0x14000010, 0, 0, 1 << 16, 1 << 1, b"ARMd", 0)
    path = tmp_path / "demo kernel"
    path.write_bytes(image + struct.pack("<I", SPIN))
    job = Job(kernel=path, memory=128 * MIB, boot=5)
    outcome = run(Target(), programs(Target()), job, quiet)
    assert {finding.rule for finding in outcome.findings} == {"boot.silent", "boot.parked"}
    assert outcome.ended == "branch to itself"
