"""Known defects: shown by what they are found as, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.codegen.target import Regime, Target
from relokit.known_defects import KNOWN_DEFECTS, known_defect
from relokit.runtime.campaign.cells import Cell, Payload
from relokit.runtime.judge.outcome import Finding, Outcome
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet

JOB = Job(size=64 << 10, shape=Shape.OLD_KERNEL, max_instructions=400_000)


def cell(series: int, payload: Payload = Payload.OLD_KERNEL) -> Cell:
    target = Target(series=series)
    return Cell(series, 4096, 48, Regime.NVHE, KexecPath.NORMAL, payload, target)


def outcome(series: int, regime: Regime, *, plain: bool = False) -> Outcome:
    target = Target(series=series, regime=regime)
    return run(target, programs(target), replace(JOB, plain=plain), quiet)


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("series", range(16))
def test_states_7_to_11_read_kimage_after_it_is_gone_and_no_other_does(
    series: int, regime: Regime
) -> None:
    found = outcome(series, regime)
    assert found.passed == (series not in range(7, 12))
    if not found.passed:
        [defect] = KNOWN_DEFECTS
        assert known_defect(cell(series), found.findings, found.rules.not_judged) is defect
        reads = [one for one in found.findings if one.rule == "own.read"]
        assert len(reads) == (2 if series < 9 else 3)
        for one in reads:
            assert "struct kimage" in one.notes[0]
            assert any("stnp" in note for note in one.notes)


def test_a_plain_run_is_known_by_its_state_and_what_it_comes_to() -> None:
    found = outcome(9, Regime.NVHE, plain=True)
    assert not found.passed
    assert known_defect(cell(9), found.findings, found.rules.not_judged)


def test_what_else_is_wrong_is_a_failure() -> None:
    found = outcome(9, Regime.NVHE).findings
    other = Finding("memory.segment", "a page is wrong")
    assert known_defect(cell(9), found, {})
    assert not known_defect(cell(9), [*found, other], {})
    assert not known_defect(cell(12), found, {})
    assert not known_defect(cell(9, Payload.SHUFFLED), found, {})
    # At another instruction it is another defect.
    elsewhere = [replace(one, listing=("> 0x0: 00000000  ldr x1, [x2]",)) for one in found]
    assert not known_defect(cell(9), elsewhere, {})
    # What it comes to is not enough, where the rule could have told.
    assert not known_defect(cell(9), [one for one in found if one.rule != "own.read"], {})
