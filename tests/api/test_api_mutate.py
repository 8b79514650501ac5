"""Campaigns of mutants: all of them tried, whatever one does to the room it runs in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import relokit.session
import relokit.templates
from relokit.codegen.target import Regime, Target
from relokit.mutate import MutationPlan, SurveyDone, Tried, try_mutants
from relokit.mutation_report import Campaign
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.mutant import MutantStatus, RoutineName
from relokit.workers import RoomWorkers

WEAKER = MutationPlan((Target(),), (RoutineName.RELOCATION,), frozenset({"weaken"}))


def events(plan: MutationPlan, jobs: int = 2) -> list[SurveyDone | Tried]:
    with RoomWorkers(jobs) as workers:
        return list(try_mutants(plan, workers=workers))


def test_every_mutant_has_a_result_and_the_report_does_not_depend_on_who_tried_it() -> None:
    reports = []
    for jobs in (1, 2):
        campaign = Campaign()
        for event in events(WEAKER, jobs):
            campaign.add(event)
        assert campaign.done == campaign.known > 20
        reports.append(campaign.report())
    assert reports[0] == reports[1]
    [report, _] = reports
    assert report.all.all == campaign.done
    assert sum(row.all for row in report.operators.values()) == campaign.done
    assert sum(report.rules.values()) == sum(report.places.values()) == report.all.killed > 0
    assert len(report.survivors) == report.all.survived
    assert report.status == "fail"


def test_code_that_fails_as_it_is_has_no_mutants(tmp_path: Path) -> None:
    """All of them would be found."""
    name = "relocate_kernel.S.j2"
    good = (Path(relokit.templates.__path__[0]) / name).read_text()
    (tmp_path / name).write_text(good.replace("\tbr\t{{", "\tb\t.\n\tbr\t{{"))
    plan = replace(WEAKER, targets=(Target(regime=Regime.EL1),))
    with RoomWorkers(1) as workers:
        found = list(try_mutants(plan, Job(templates=tmp_path), workers=workers))
    [only] = found
    assert isinstance(only, SurveyDone)
    assert only.survey is not None
    assert only.survey.mutants == ()
    assert [one.why_not for one in only.survey.layouts if "run.spin" not in str(one.why_not)] == []


ROOM = """
import os, signal
from relokit.codegen.base.host_file import unpack
from relokit.runtime.room import machine_room

def serve(request, progress):
    mutants = getattr(unpack(request, ()), "mutants", ())
    if any("dc zva" in one.text for one in mutants):
        os.kill(os.getpid(), signal.SIGSEGV)
    return machine_room.serve(request, progress)
"""


def test_a_mutant_that_takes_its_room_down_has_no_answer_and_all_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "falling_room.py").write_text(ROOM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(relokit.session, "ROOM", "falling_room")
    tried = [one for one in events(WEAKER) if isinstance(one, Tried)]
    lost = [one for one in tried if one.result.status is MutantStatus.NO_ANSWER]
    assert {one.mutant.text for one in lost} == {"dc civac, x10 -> dc zva, x10"}
    assert "SIGSEGV" in str(lost[0].result.why)
    assert len(tried) > len(lost)


def test_the_regimes_are_targets_of_their_own() -> None:
    targets = tuple(Target(regime=regime) for regime in Regime)
    plan = MutationPlan(targets, (RoutineName.SOFT_RESTART,), frozenset({"drop"}))
    found = events(plan)
    assert [one.target for one in found if isinstance(one, SurveyDone)] == list(targets)
    tried = {one.target.regime for one in found if isinstance(one, Tried)}
    assert tried == set(Regime)
