"""Executed, then judged: what a real run records of its stations, and what rules make of that."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from relokit.codegen import facts
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.handover.handoff import HANDOFF
from relokit.runtime.judge.rules.moved.relocation import RELOCATION
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.routines import routines_of
from relokit.runtime.record.record import JumpFacts, LegName, Record
from relokit.runtime.record.stations import StationRole
from relokit.runtime.run.cpu_facts import cpu_facts
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu, prepare_machine
from support.machines import prepared, programs, quiet

JOB = Job(size=100_000, memory=128 * MIB)


@contextmanager
def arrived(regime: Regime = Regime.NVHE, series: int = 15) -> Iterator[tuple[Cpu, Record]]:
    """A CPU at the new kernel's first instruction, all in order."""
    with prepared(Target(regime=regime, series=series), JOB) as machine:
        cpu = open_cpu(machine)
        record = execute(machine, cpu, JOB, quiet)
        assert record.complete
        yield cpu, record


def check(cpu: Cpu, record: Record, **changed: Any) -> list[Finding]:
    """What the hand-over's rules say of ``cpu`` as it is now, but for what is ``changed``."""
    now = replace(cpu_facts(cpu), **changed)
    return list(judge(replace(record, reached=(now,)), HANDOFF).findings)


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("series", range(16))
def test_a_good_arrival_breaks_no_rule(regime: Regime, series: int) -> None:
    with arrived(regime, series) as (cpu, record):
        assert check(cpu, record) == []
        assert judge(record).findings == ()
        assert not judge(record).answers.not_judged


@pytest.mark.parametrize(
    ("pstate", "rule", "message"),
    [
        (lambda pstate: pstate & ~(1 << 7), "handoff.daif", "DAIF = 1101"),
        (lambda pstate: pstate & ~(0xF << 6), "handoff.daif", "DAIF = 0000"),
        (lambda pstate: pstate ^ 0b1100, "handoff.el", "entered at EL1 instead of EL2"),
    ],
)
def test_a_wrong_state_is_found(pstate: Callable[[int], int], rule: str, message: str) -> None:
    with arrived() as (cpu, record):
        [finding] = check(cpu, record, pstate=pstate(cpu.pstate))
    assert (finding.rule, finding.source) == (rule, "Documentation/arch/arm64/booting.rst")
    assert message in finding.message
    assert finding.cause


def _x(number: int, value: int) -> Callable[[Cpu], None]:
    return lambda cpu: cpu.set_x(number, value)


def _pc(cpu: Cpu) -> None:
    cpu.set_pc(0x4000_0004)


def _mmu(cpu: Cpu) -> None:
    cpu.write("SCTLR_EL2", facts.SCTLR_EL2_MMU_OFF | 1)


def _open_at_the_hvc(cpu: Cpu) -> None:
    cpu.write("SPSR_EL2", cpu.read("SPSR_EL2") & ~(1 << 7))


def _mmu_below(cpu: Cpu) -> None:
    cpu.write("SCTLR_EL1", facts.SCTLR_EL1_MMU_OFF | 1)


@pytest.mark.parametrize(
    ("spoil", "rules", "message"),
    [
        (_pc, ["handoff.entry"], "entered at 0x40000004 instead of 0x40000000"),
        (_mmu, ["handoff.mmu"], "the MMU is on"),
        (_x(0, 0x1000), ["handoff.dtb"], "x0 = 0x1000, but the device tree is at"),
        (_x(1, 1 << 63), ["handoff.x1"], "reserved"),
        (_x(2, 1 << 63), ["handoff.x2"], "reserved"),
        (_x(3, 1 << 63), ["handoff.x3"], "reserved"),
        (_x(0, facts.HVC_STUB_ERR), ["handoff.stub-error", "handoff.dtb"], "refused the call"),
        (_open_at_the_hvc, ["relocation.daif"], "DAIF was 1101"),
        (_mmu_below, ["handoff.sctlr"], "SCTLR_EL1 = "),
    ],
)
def test_what_is_in_a_register_at_the_hand_over_is_seen(
    spoil: Callable[[Cpu], None], rules: list[str], message: str
) -> None:
    with arrived() as (cpu, record):
        spoil(cpu)
        findings = check(cpu, record)
    assert [finding.rule for finding in findings] == rules
    assert message in findings[0].message
    assert findings[0].cause


# Exception level and MMU during relocation, by state and regime, as the mails have them.
@pytest.mark.parametrize("series", range(16))
@pytest.mark.parametrize("regime", list(Regime))
def test_what_each_state_promises_at_the_jump(regime: Regime, series: int) -> None:
    el = {
        Regime.EL1: 1,
        Regime.NVHE: 1 if series >= 9 else 2,
        Regime.VHE: 2,
    }[regime]
    mmu = series >= 12
    with arrived(regime, series) as (_, record):
        assert isinstance(record.jump, JumpFacts)
        assert (record.jump.promise.el, record.jump.promise.mmu) == (el, mmu)
        assert (record.jump.cpu.el, record.jump.cpu.mmu) == (el, mmu)
        wrong = replace(record.jump.promise, el=3 - el, mmu=not mmu)
        other = replace(record, jump=replace(record.jump, promise=wrong))
        level, off = judge(other, RELOCATION).findings
    assert (level.rule, off.rule) == ("relocation.el", "relocation.mmu")
    assert f"runs it at EL{3 - el}" in level.message
    assert ("the MMU is on" if mmu else "the MMU is off") in off.message


def test_where_nothing_is_moved_nothing_is_promised() -> None:
    job = replace(JOB, path=KexecPath.CRASH)
    with prepared(Target(), job) as machine:
        record = execute(machine, open_cpu(machine), job, quiet)
    assert record.jump is None
    assert record.leg(LegName.MOVE) is None
    answers = judge(record).answers
    for name in ("relocation.el", "relocation.mmu", "setup.code", "setup.list", "damage.code"):
        assert answers.not_applicable[name]
    assert "setup.kimage" in answers.applied


def test_a_purgatory_is_a_station_of_its_own() -> None:
    job = replace(JOB, path=KexecPath.PURGATORY)
    with prepared(Target(), job) as machine:
        record = execute(machine, open_cpu(machine), job, quiet)
    assert [one.role for one in record.promises] == [StationRole.PURGATORY, StationRole.KERNEL]
    first, second = record.reached
    assert (first.pc, first.x[0]) == (machine.stages[0].pc, 0)
    assert (second.pc, second.x[0]) == (machine.stages[1].pc, machine.inputs.dtb_at)
    assert [leg.name for leg in record.legs] == [LegName.PRELUDE, LegName.MOVE, LegName.PURGATORY]
    assert judge(record).findings == ()


def _storing_to(pa: int) -> bytes:
    """Our own relocation at state 0, MMU off, which stores to PA ``pa`` before it leaves."""
    code = routines_of(programs(Target(series=0)).kernel).relocation
    at = code.rindex(struct.pack("<I", 0xD61F0320))  # br x25
    low, high = pa & 0xFFFF, pa >> 16
    store = (0xD2800009 | low << 5, 0xF2A00009 | high << 5, 0xF9000129)  # movz, movk; str x9, [x9]
    return code[:at] + struct.pack("<3I", *store) + code[at:]


@pytest.mark.parametrize("kind", [OwnerKind.KIMAGE, OwnerKind.LIST, OwnerKind.CONTROL_PAGE])
def test_what_was_prepared_is_looked_at_before_the_move_can_change_it(kind: OwnerKind) -> None:
    """A store into each, when all is moved: it was prepared well, and is damaged."""
    target = Target(series=0)
    with prepared(target, JOB) as machine:
        places = {region.owner.kind: region for region in machine.allocator.regions}
    pa = places[kind].base + (0x800 if kind is OwnerKind.CONTROL_PAGE else 8)
    code = _storing_to(pa)
    machine = prepare_machine(target, programs(target), JOB, quiet, relocation=code)
    try:
        findings = judge(execute(machine, open_cpu(machine), JOB, quiet)).findings
    finally:
        machine.close()
    # The store is around the caches, and the page is dirty but for what the move reads of it.
    assert {finding.rule for finding in findings} <= {"own.store", "caches.write-around"}
    assert findings[0].rule == "own.store"
    assert f"the first at PA {pa & -8:#x}" in findings[0].message
    assert str(places[kind].owner) in findings[0].notes[0]


@pytest.mark.parametrize("path", [KexecPath.NORMAL, KexecPath.IN_PLACE, KexecPath.PURGATORY])
def test_executing_twice_records_the_same(path: KexecPath) -> None:
    """Nothing of the host is in a record but the time that legs took."""

    def once() -> Record:
        job = replace(JOB, path=path)
        with prepared(Target(series=3), job) as machine:
            record = execute(machine, open_cpu(machine), job, quiet)
        legs = tuple(replace(leg, stop=replace(leg.stop, seconds=0.0)) for leg in record.legs)
        return replace(record, legs=legs)

    assert once() == once()


def test_a_record_outlives_its_machine() -> None:
    """Judging needs no guest: the machine is closed, and its memory given back."""
    with prepared(Target(), JOB) as machine:
        _spoil_list(machine)
        record = execute(machine, open_cpu(machine), JOB, quiet)
        before = judge(record)
    assert judge(record) == before
    assert "setup.list" in {finding.rule for finding in before.findings}


def test_what_never_arrived_is_not_compared() -> None:
    with prepared(Target(), JOB) as machine:
        machine.memory.write_u64(machine.kimage.control_page, 0)
        record = execute(machine, open_cpu(machine), JOB, quiet)
    judged = judge(record)
    assert [finding.rule for finding in judged.findings] == ["setup.code", "exception.undefined"]
    assert "never entered" in judged.answers.not_judged["memory.segment"]
    assert record.reached == ()


def _spoil_list(machine: Machine) -> None:
    machine.memory.write_u64(machine.kimage.list_pages[0].base + 16, 0)
