"""Runs with effects: good ones end as they did, bad ones as hardware might end them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.evidence.evidence_file import judge_file
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet
from support.scenarios import Scenario, judged, scenarios

JOB = Job(size=64 << 10, effects=True, plain=True, max_instructions=300_000)


def outcome_of(target: Target, job: Job) -> Outcome:
    return run(target, programs(target), job, quiet)


@pytest.mark.parametrize("series", range(16))
@pytest.mark.parametrize("regime", list(Regime))
def test_a_good_run_passes_in_every_state_and_regime(series: int, regime: Regime) -> None:
    outcome = outcome_of(Target(series=series, regime=regime), JOB)
    assert outcome.passed, outcome.findings
    assert outcome.effects is not None
    assert outcome.effects.lost == 0
    assert outcome.verified_bytes


@pytest.mark.parametrize("path", list(KexecPath))
@pytest.mark.parametrize("series", [0, 4, 5, 9, 12, 15])
def test_a_good_run_passes_on_every_path(series: int, path: KexecPath) -> None:
    outcome = outcome_of(Target(series=series), replace(JOB, path=path))
    assert outcome.passed, outcome.findings


@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
@pytest.mark.parametrize("line", [16, 64, 2048])
def test_a_good_run_passes_with_other_pages_and_lines(page_size: int, line: int) -> None:
    for series in (9, 15):
        target = Target(series=series, page_size=page_size, cache_line=line, regime=Regime.VHE)
        outcome = outcome_of(target, JOB)
        assert outcome.passed, outcome.findings
        assert outcome.effects is not None
        assert outcome.effects.line == line


def test_a_good_run_passes_with_lists_of_another_shape() -> None:
    outcome = outcome_of(Target(series=15), replace(JOB, shape=Shape.OWN_PLACE))
    assert outcome.passed, outcome.findings


def test_the_new_kernel_runs_on_without_them() -> None:
    outcome = outcome_of(Target(), Job(effects=True, boot=5.0))
    assert outcome.passed, outcome.findings
    assert outcome.console


BYTES = [
    "v13 of the series, on ThunderX2: invalidated and not cleaned",
    "cleaned to the point of unification only",
    "not cleaned at all",
    "every other line",
    "all but the last line of a page",
    "the source is cleaned, not the destination",
    "MMU off: old dirty lines are written back over the copy",
    "MMU off: every other line",
]


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(one, id=one.id)
        for one in scenarios("bad_caches.toml")
        if one.fields["name"] in BYTES
    ],
)
def test_a_bad_run_loses_bytes(scenario: Scenario) -> None:
    """A plain run passes all of these; with effects even that one fails, and says why."""
    job = {**scenario.fields.get("job", {}), "effects": True}
    scenario = replace(scenario, fields={**scenario.fields, "job": job})
    outcome = judged(scenario, plain=True)
    assert not outcome.passed
    assert "memory.segment" in {one.rule for one in outcome.findings}
    [first, *_] = [one for one in outcome.findings if one.rule == "memory.segment"]
    assert "--effects" in str(first.cause)
    assert outcome.effects is not None
    assert outcome.effects.lost >= 64 << 10 >> 12
    # And the rules say where.
    assert scenario.fields["rule"] in {one.rule for one in judged(scenario).findings}


def test_every_name_of_those_is_a_scenario() -> None:
    assert set(BYTES) <= {one.fields["name"] for one in scenarios("bad_caches.toml")}


def test_a_purgatory_that_is_not_in_memory_does_not_start() -> None:
    [scenario] = [
        one
        for one in scenarios("bad_caches.toml")
        if one.fields["name"] == "by way of a purgatory: invalidated and not cleaned"
    ]
    job = {**scenario.fields["job"], "effects": True}
    outcome = judged(replace(scenario, fields={**scenario.fields, "job": job}))
    first = next(one for one in outcome.findings if one.rule == "exception.undefined")
    assert "no cache was cleaned to this memory" in str(first.cause)
    assert any("60decade" in line for line in first.listing if line.startswith(">"))


def test_effects_are_in_the_file(tmp_path: Path) -> None:
    target = Target()
    path = tmp_path / "trace"
    outcome = run(target, programs(target), replace(JOB, plain=False), quiet, trace=path)
    assert judge_file(path)[1].effects == outcome.effects


def test_the_move_is_the_same_with_them() -> None:
    """As many instructions, the same registers: nothing is changed but what memory has."""
    without, effects = (
        outcome_of(Target(series=9), replace(JOB, effects=one)) for one in (False, True)
    )
    assert effects.handoff == without.handoff
    assert effects.relocation.instructions == without.relocation.instructions
    assert without.effects is None
