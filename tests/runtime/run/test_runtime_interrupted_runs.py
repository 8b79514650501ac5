"""An interrupt at any instruction: the judge knows beforehand what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.codegen.target import Target
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.run.verdict import run
from support.edits import edited
from support.machines import programs, quiet

JOB = Job(size=64 << 10, max_instructions=200_000)
MOMENTS = (0, 1, 2, 17, 40, 61, 73, 76, 77, 78, 79, 83, 120, 1000, 13_000)


def outcome(target: Target, job: Job, edit: tuple[str, str] | None = None) -> Outcome:
    built = programs(target)
    if edit:
        built = replace(built, kernel=edited(built.kernel, "machine_kexec", [edit]))
    return run(target, built, job, quiet)


@pytest.mark.parametrize("at", MOMENTS)
@pytest.mark.parametrize("plain", [False, True])
def test_with_all_masked_none_is_taken_but_before_that(at: int, plain: bool) -> None:
    found = outcome(Target(series=15), replace(JOB, interrupts=at, plain=plain))
    assert found.passed, found.findings
    assert found.interrupt is not None
    assert found.interrupt.raised
    assert (found.interrupt.after is None) == (at > 0)


@pytest.mark.parametrize("regime", ["el1", "nvhe", "vhe"])
@pytest.mark.parametrize("path", [KexecPath.NORMAL, KexecPath.CRASH, KexecPath.HIBERNATE])
def test_on_every_path_and_level(regime: str, path: KexecPath) -> None:
    for at, taken in ((0, True), (30, False)):
        target = Target(series=15, regime=regime)  # type: ignore[arg-type]
        found = outcome(target, replace(JOB, interrupts=at, path=path))
        assert found.passed, found.findings
        assert found.interrupt is not None
        assert (found.interrupt.el is not None) == taken


@pytest.mark.parametrize("at", MOMENTS)
def test_with_nothing_masked_it_ends_where_the_judge_says(at: int) -> None:
    """CVE-2026-90290: until the tables are switched a handler is there, and then none."""
    forgotten = ("msr daifset, #15", "nop")
    found = outcome(Target(series=15), replace(JOB, interrupts=at), forgotten)
    judged = outcome(Target(series=15), JOB, forgotten)
    [masked] = [one for one in judged.findings if one.rule == "interrupt.masked"]
    [lost] = [note for note in masked.notes if note.startswith("lost with")]
    assert "msr ttbr1_el1, x18" in lost
    assert found.interrupt is not None
    assert found.interrupt.after == at
    rules = {one.rule for one in found.findings}
    pc = found.interrupt.pc
    assert pc is not None
    behind = pc > int(lost.split(" at ")[1].split(",")[0], 16) if pc < 1 << 47 else False
    assert ("exception.vector" in rules) == behind, (hex(pc), rules)


def test_equal_runs_are_equal() -> None:
    first, second = (outcome(Target(series=15), replace(JOB, interrupts=0)) for _ in range(2))
    assert replace(first, timings={}, relocation=second.relocation) == replace(second, timings={})
