"""The contract at the last step, rule by rule: each can be broken alone, and is then named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from relokit.codegen import facts
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.judge import contract
from relokit.runtime.judge.outcome import Finding, Handoff
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import write_field
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.run.verdict import open_cpu, prepare_machine, relocate
from support.machines import programs, quiet

JOB = Job(size=100_000, memory=128 * MIB)


@contextmanager
def arrived(regime: Regime = Regime.NVHE, series: int = 15) -> Iterator[tuple[Machine, Cpu]]:
    """A machine at the new kernel's first instruction, all in order."""
    target = Target(regime=regime, series=series)
    machine = prepare_machine(target, programs(target), JOB, quiet)
    try:
        cpu = open_cpu(machine)
        assert relocate(machine, cpu, JOB, quiet).arrived
        yield machine, cpu
    finally:
        machine.close()


def check(machine: Machine, cpu: Cpu, **changed: int | bool) -> list[Finding]:
    sctlr = cpu.read(f"SCTLR_EL{cpu.el}")
    handoff = Handoff(
        pc=cpu.pc,
        el=cpu.el,
        x0=cpu.x(0),
        x1=cpu.x(1),
        x2=cpu.x(2),
        x3=cpu.x(3),
        mmu=bool(sctlr & 1),
        sctlr=sctlr,
        daif=cpu.pstate >> 6 & 0xF,
    )
    changed_handoff = replace(handoff, **changed)  # type: ignore[arg-type]
    return contract.check_handoff(machine, cpu, changed_handoff, machine.stages[-1])


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("series", range(16))
def test_a_good_arrival_breaks_no_rule(regime: Regime, series: int) -> None:
    with arrived(regime, series) as (machine, cpu):
        assert check(machine, cpu) == []


@pytest.mark.parametrize(
    ("changed", "rule", "message"),
    [
        ({"pc": 0x4000_0004}, "handoff.entry", "entered at 0x40000004 instead of 0x40000000"),
        ({"el": 1}, "handoff.el", "entered at EL1 instead of EL2"),
        ({"mmu": True}, "handoff.mmu", "the MMU is on"),
        ({"daif": 0b1101}, "handoff.daif", "DAIF = 1101"),
        ({"daif": 0}, "handoff.daif", "DAIF = 0000"),
        ({"x0": 0x1000}, "handoff.dtb", "x0 = 0x1000, but the device tree is at"),
    ],
)
def test_each_rule_is_broken_alone(changed: dict[str, int], rule: str, message: str) -> None:
    with arrived() as (machine, cpu):
        [finding] = check(machine, cpu, **changed)
    assert finding.rule == rule
    assert message in finding.message
    assert finding.cause
    assert finding.notes[0].startswith("source: ")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_reserved_registers(number: int) -> None:
    with arrived() as (machine, cpu):
        cpu.set_x(number, 1 << 63)
        [finding] = check(machine, cpu)
    assert finding.rule == f"handoff.x{number}"


@pytest.mark.parametrize(
    ("regime", "register"),
    [(Regime.EL1, "SCTLR_EL1"), (Regime.NVHE, "SCTLR_EL1"), (Regime.VHE, "SCTLR_EL2")],
)
@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (facts.SCTLR_EL1_MMU_OFF | 1 << 12, "written whole"),
        (facts.SCTLR_EL1_MMU_OFF & ~(1 << 11), "written whole"),
        (0, "written whole"),
    ],
)
def test_sctlr_of_the_level_that_relocated(
    regime: Regime, register: str, value: int, cause: str
) -> None:
    with arrived(regime) as (machine, cpu):
        cpu.write(register, value)
        findings = check(machine, cpu)
    [finding] = [finding for finding in findings if finding.rule == "handoff.sctlr"]
    assert f"{register} = " in finding.message
    assert cause in (finding.cause or "")


def test_an_mmu_left_on_below_is_called_that() -> None:
    with arrived() as (machine, cpu):
        cpu.write("SCTLR_EL1", facts.SCTLR_EL1_MMU_OFF | 1)
        [finding] = check(machine, cpu)
    assert "was never turned off" in (finding.cause or "")


def test_a_refusal_left_in_x0_is_its_own_rule() -> None:
    with arrived() as (machine, cpu):
        cpu.set_x(0, facts.HVC_STUB_ERR)
        rules = [finding.rule for finding in check(machine, cpu)]
    assert rules == ["handoff.stub-error", "handoff.dtb"]


def test_interrupts_open_at_the_hvc_are_seen_in_spsr() -> None:
    with arrived() as (machine, cpu):
        cpu.write("SPSR_EL2", cpu.read("SPSR_EL2") & ~(1 << 7))
        [finding] = check(machine, cpu)
    assert finding.rule == "relocation.daif"
    assert "DAIF was 1101" in finding.message


def _no_vectors(machine: Machine, cpu: Cpu) -> None:
    write_field(machine.memory, machine.kimage, "el2_vectors", 0)


def _came_back(machine: Machine, cpu: Cpu) -> None:
    cpu.write("ELR_EL2", machine.kimage.control_page + 0x100)


def _elsewhere(machine: Machine, cpu: Cpu) -> None:
    cpu.write("ELR_EL2", 0x1234)


@pytest.mark.parametrize(
    ("spoil", "regime", "cause"),
    [
        (_no_vectors, Regime.NVHE, "el2_vectors is 0"),
        (_came_back, Regime.NVHE, "came back: its function number"),
        (_elsewhere, Regime.NVHE, "no HVC was made"),
        (_elsewhere, Regime.VHE, "no stub to call in this regime"),
    ],
)
def test_why_a_level_is_wrong(
    spoil: Callable[[Machine, Cpu], None], regime: Regime, cause: str
) -> None:
    with arrived(regime) as (machine, cpu):
        spoil(machine, cpu)
        [finding] = check(machine, cpu, el=1)
    assert cause in (finding.cause or "")


def test_all_that_is_wrong_is_told() -> None:
    with arrived() as (machine, cpu):
        cpu.set_x(1, 1)
        cpu.set_x(3, 1)
        rules = [finding.rule for finding in check(machine, cpu, pc=0, el=1, mmu=True, daif=0)]
    assert rules == [
        "handoff.entry",
        "handoff.el",
        "handoff.mmu",
        "handoff.daif",
        "handoff.x1",
        "handoff.x3",
    ]


# Exception level and MMU during relocation, by state and regime, as the mails have them.
@pytest.mark.parametrize("series", range(16))
@pytest.mark.parametrize("regime", list(Regime))
def test_what_each_state_promises_at_the_jump(regime: Regime, series: int) -> None:
    target = Target(regime=regime, series=series)
    machine = prepare_machine(target, programs(target), JOB, quiet)
    try:
        el = {
            Regime.EL1: 1,
            Regime.NVHE: 1 if series >= 9 else 2,
            Regime.VHE: 2,
        }[regime]
        mmu = int(series >= 12)
        assert contract.check_jump(machine, el, mmu) == []
        [level] = contract.check_jump(machine, 3 - el, mmu)
        [off] = contract.check_jump(machine, el, 1 - mmu)
        assert (level.rule, off.rule) == ("relocation.el", "relocation.mmu")
        assert f"EL{3 - el}" in level.message
        assert ("the MMU is off" if mmu else "the MMU is on") in off.message
    finally:
        machine.close()


def test_where_nothing_is_moved_nothing_is_promised() -> None:
    target = Target()
    job = replace(JOB, path=KexecPath.CRASH)
    machine = prepare_machine(target, programs(target), job, quiet)
    try:
        assert machine.jump is None
        assert contract.check_jump(machine, 3, 0) == []
    finally:
        machine.close()
