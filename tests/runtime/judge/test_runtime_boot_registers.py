"""The clauses on system registers: each bit alone is found, and who wrote it is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.rules.handover.boot_contract import CONTRACT, Bits, Wanted
from relokit.runtime.judge.rules.handover.boot_registers import BOOT_REGISTERS
from relokit.runtime.kexec.job import Job
from relokit.runtime.record.record import Record
from relokit.runtime.run.verdict import run
from support import records as r
from support.machines import programs, quiet
from support.twins import TWINS, rule_named

EVERY_FEATURE = dict.fromkeys(r.PLATFORM.identity, 0) | {
    "ID_AA64PFR0_EL1": 0x1111 | 1 << 24 | 1 << 32 | 1 << 44,
    "ID_AA64PFR1_EL1": 2 << 8 | 2 << 24 | 1 << 44,
    "ID_AA64PFR2_EL1": 1 << 12,
    "ID_AA64DFR0_EL1": 9 << 8 | 5 << 32 | 1 << 52,
    "ID_AA64ISAR1_EL1": 1 << 4 | 2 << 60,
    "ID_AA64ISAR2_EL1": 1 << 16,
    "ID_AA64MMFR0_EL1": 2 << 56,
    "ID_AA64MMFR1_EL1": 1 << 40,
    "ID_AA64MMFR3_EL1": 1 | 1 << 8,
    "ID_AA64SMFR0_EL1": 1 << 63,
    "PMSIDR_EL1": 1 << 7,
}


def perfect(el: int, *, host: bool) -> Record:
    """A CPU that has it all, and every register as it has to be."""
    registers = {"HCR_EL2": 1 << 34 if host else 0, "SCR_EL3": 0x531, "ICC_CTLR_EL3": 0}
    for clause in CONTRACT:
        for row in clause.rows:
            if row.host not in (None, host) or row.gicv2:
                continue
            if row.wanted is not Wanted.UNCHANGED:
                value = row.mask if row.wanted is Wanted.ONES else 0
                registers[row.register] = registers.get(row.register, 0) | value
    registers["CNTFRQ_EL0"] = 1
    for name in ("ZCR_EL3", "SMCR_EL3", "CNTVOFF_EL2"):
        registers.setdefault(name, 0)
    return r.provided(EVERY_FEATURE, registers, el=el)


ROWS = [
    pytest.param(clause.rule, row, id=f"{clause.rule} {number} {row.register}")
    for clause in CONTRACT
    for number, row in enumerate(clause.rows)
    if not row.gicv2
]


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("host", [False, True])
def test_a_cpu_that_has_it_all_passes(el: int, host: bool) -> None:
    judged = judge(perfect(el, host=host), BOOT_REGISTERS)
    assert judged.findings == ()
    assert not judged.answers.not_judged


@pytest.mark.parametrize(("rule", "row"), ROWS)
def test_each_bit_alone_is_found(rule: str, row: Bits) -> None:
    el, host = row.entry.value or 1, bool(row.host)
    good = perfect(el, host=host)
    held = good.reached[0].system[row.register]
    numbers = [number for number in range(64) if row.mask >> number & 1]
    changed = [0] if row.wanted is Wanted.NOT_ZERO else [held ^ 1 << number for number in numbers]
    for value in changed:
        system = {**good.reached[0].system, row.register: value}
        record = replace(good, reached=(replace(good.reached[0], system=system),))
        found = judge(record, (rule_named(rule),)).findings
        assert [finding.rule for finding in found][:1] == [rule], hex(value)
        assert f"{row.register} = {value:#x}" in found[0].message


@pytest.mark.parametrize("rule", [clause.rule for clause in CONTRACT])
def test_what_the_cpu_does_not_have_is_not_asked_for(rule: str) -> None:
    bare = dict.fromkeys(EVERY_FEATURE, 0) | {"ID_AA64PFR0_EL1": 0xF << 16}
    record = replace(r.GOOD, platform=replace(r.PLATFORM, identity=bare))
    answers = judge(record, (rule_named(rule),)).answers
    assert (rule in answers.not_applicable) == (rule != "handoff.counter")


def test_the_instruction_that_wrote_it_is_named() -> None:
    story = r.moved().fetchable()
    at = story.pc
    story.msr("CNTVOFF_EL2", 5).mmu_off()
    record = r.traced(story, r.arrived(system={"CNTVOFF_EL2": 5}))
    [finding] = judge(record, (rule_named("handoff.counter"),)).findings
    assert finding.address == at
    assert "was changed since" in (finding.cause or "")
    assert any(line.startswith(f"> {at:#x}") for line in finding.listing)


def test_what_was_so_before_is_the_boot_loaders_fault() -> None:
    [finding] = judge(TWINS["handoff.pauth"].bad, (rule_named("handoff.pauth"),)).findings
    assert "whoever booted the old kernel" in (finding.cause or "")
    assert finding.address == r.KERNEL


RUNS = (
    Target(regime=Regime.EL1),
    Target(regime=Regime.NVHE),
    Target(regime=Regime.VHE),
    Target(regime=Regime.EL1, page_size=16384),
)


def test_what_is_marked_as_executed_is() -> None:
    """And what an emulated CPU has is not marked as tried by hand only."""
    applied: set[str] = set()
    for target in RUNS:
        outcome = run(target, programs(target), Job(size=4096, plain=True), quiet)
        assert outcome.passed
        applied |= set(outcome.rules.applied)
    marked = {clause.rule for clause in CONTRACT if clause.executed}
    assert {clause.rule for clause in CONTRACT} & applied == marked
