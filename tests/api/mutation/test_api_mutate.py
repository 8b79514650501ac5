"""Campaigns of mutants: all of them tried, whatever one does to the room it runs in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import relokit.mutation.mutate
import relokit.session
import relokit.templates
from relokit.codegen.base.errors import FormatError
from relokit.codegen.target import Regime, Target
from relokit.mutation.mutate import (
    MutationPlan,
    SurveyDone,
    Tried,
    opened_results,
    try_mutants,
)
from relokit.mutation.mutation_report import Campaign
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.mutant import MutantResult, MutantStatus, RoutineName
from relokit.workers import RoomWorkers

QUICK = MutationPlan(
    routines=(RoutineName.SOFT_RESTART,),
    regimes=(Regime.NVHE,),
    operators=frozenset({"drop", "register", "system-register"}),
)
"""Some 20 mutants, killed ones and survivors, of the routine with the fewest layouts."""
FEW = replace(QUICK, operators=frozenset({"weaken"}))

Event = SurveyDone | Tried


def events_of(plan: MutationPlan, jobs: int = 2) -> list[Event]:
    with RoomWorkers(jobs) as workers:
        return list(try_mutants(plan, workers=workers))


def results_of(events: list[Event]) -> dict[str, MutantResult]:
    return {one.mutant.id: one.result for one in events if isinstance(one, Tried)}


@pytest.fixture(scope="module")
def whole() -> list[Event]:
    """The whole campaign, once, by two."""
    return events_of(QUICK)


def test_every_mutant_has_a_result_and_the_report_does_not_depend_on_who_tried_it(
    whole: list[Event],
) -> None:
    reports = []
    for events in (whole, events_of(QUICK, 1)):
        campaign = Campaign()
        for event in events:
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
    plan = replace(FEW, routines=(RoutineName.RELOCATION,), regimes=(Regime.EL1,))
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
    asked = unpack(request, (), machine_room._kept)
    mutants = getattr(asked.request, "mutants", ())
    if any(one.text == "isb -> nop" for one in mutants):
        os.kill(os.getpid(), signal.SIGSEGV)
    return machine_room.serve(request, progress)
"""


def test_a_mutant_that_takes_its_room_down_has_no_answer_and_all_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "falling_room.py").write_text(ROOM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(relokit.session, "ROOM", "falling_room")
    tried = [one for one in events_of(QUICK) if isinstance(one, Tried)]
    lost = [one for one in tried if one.result.status is MutantStatus.NO_ANSWER]
    assert {one.mutant.text for one in lost} == {"isb -> nop"}
    assert "SIGSEGV" in str(lost[0].result.why)
    assert len(tried) > len(lost)


def test_one_that_a_regime_does_not_execute_is_killed_in_another() -> None:
    """At EL1 the new kernel is entered by a branch, from a kernel with a stub by HVC."""
    plan = MutationPlan(routines=(RoutineName.SOFT_RESTART,), operators=frozenset({"drop"}))
    killed = {
        one.mutant.text: one.result.layout
        for one in events_of(plan)
        if isinstance(one, Tried) and one.result.status is MutantStatus.KILLED
    }
    assert killed["hvc #0 -> nop"] == "in-place, nvhe"
    assert killed["br x8 -> nop"] == "in-place, el1"


def test_a_campaign_goes_on_where_it_was_interrupted(tmp_path: Path, whole: list[Event]) -> None:
    path = tmp_path / "results"
    with (
        opened_results(path) as known,
        RoomWorkers(1) as workers,
        closing(try_mutants(QUICK, workers=workers, known=known)) as events,
    ):
        # Two are in a request, of the last only one is taken.
        first = [next(events) for _ in range(1 + 5)]
    with opened_results(path) as known, RoomWorkers(1) as workers:
        again = list(try_mutants(QUICK, workers=workers, known=known))
    taken = {one.mutant.id: one.result for one in again if isinstance(one, Tried) and one.taken}
    before = {one.mutant.id: one.result for one in first if isinstance(one, Tried)}
    # Written down as a whole request is over, so perhaps more than were given out.
    assert before.items() <= taken.items()
    assert 5 < len(taken) < len(again) - 1
    assert results_of(again) == results_of(whole)


def test_what_another_code_found_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for digest in (b"1" * 32, b"2" * 32):
        monkeypatch.setattr(relokit.mutation.mutate, "source_digest", lambda digest=digest: digest)
        with opened_results(tmp_path / "results") as known, RoomWorkers(1) as workers:
            assert known is not None
            others = known.of_other_code()
            found = list(try_mutants(FEW, workers=workers, known=known))
        assert not any(one.taken for one in found if isinstance(one, Tried))
        assert others == (0 if digest[0] == ord("1") else len(found) - 1)


def test_another_target_or_seed_has_results_of_its_own(tmp_path: Path) -> None:
    other = replace(FEW, targets=(Target(series=14),))
    for one, seed in ((FEW, 0), (FEW, 1), (other, 0)):
        with opened_results(tmp_path / "results") as known, RoomWorkers(1) as workers:
            found = list(try_mutants(one, Job(seed=seed), workers=workers, known=known))
        assert not any(event.taken for event in found if isinstance(event, Tried))


def test_a_result_of_another_mutant_is_refused(tmp_path: Path) -> None:
    """Whoever wrote it: a key that is right does not make a result right."""
    path = tmp_path / "results"
    with opened_results(path) as known, RoomWorkers(1) as workers:
        list(try_mutants(FEW, workers=workers, known=known))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE results SET document = replace(document, 'soft', 'hard')")
    connection.commit()
    connection.close()
    with (
        opened_results(path) as known,
        RoomWorkers(1) as workers,
        pytest.raises(FormatError, match="another mutant"),
    ):
        list(try_mutants(FEW, workers=workers, known=known))


def test_every_answer_of_a_campaign_survives_the_way_through_a_file(tmp_path: Path) -> None:
    some = frozenset({"condition", "target"})
    plan = replace(QUICK, operators=some, routines=(RoutineName.VECTORS,))
    with opened_results(tmp_path / "results") as known, RoomWorkers(1) as workers:
        first = list(try_mutants(plan, workers=workers, known=known))
    with opened_results(tmp_path / "results") as known, RoomWorkers(1) as workers:
        again = list(try_mutants(plan, workers=workers, known=known))
    assert results_of(first) == results_of(again)
    # By several rules in several layouts, and some not at all.
    assert len({(one.status, one.layout) for one in results_of(first).values()}) > 3
    assert all(one.taken for one in again if isinstance(one, Tried))
