"""A real Dask cluster with two workers on this machine; and what is said where there is none."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import LocalCluster

import relokit.cluster
from relokit.cluster import ClusterWorkers, Reply, answered
from relokit.codegen.base.errors import NativeCrashError, RelokitError
from relokit.codegen.target import Regime
from relokit.matrix import run_matrix
from relokit.mutation.mutate import MutationPlan, SurveyDone, Tried, try_mutants
from relokit.runtime.campaign.cells import Selection, cells
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.mutation.mutant import MutantResult, RoutineName
from relokit.workers import RoomWorkers, Workers

PLAN = MutationPlan(routines=(RoutineName.SOFT_RESTART,), operators=frozenset({"drop", "weaken"}))


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as running:
        yield running


def results(plan: MutationPlan, workers: Workers) -> dict[str, MutantResult]:
    with workers:
        found = try_mutants(plan, workers=workers)
        return {one.mutant.id: one.result for one in found if isinstance(one, Tried)}


def test_a_cluster_finds_what_this_machine_finds(cluster: LocalCluster) -> None:
    workers = ClusterWorkers(cluster.scheduler_address)
    assert workers.count == 2
    assert results(PLAN, workers) == results(PLAN, RoomWorkers(1))


def test_the_matrix_has_the_same_verdicts_in_the_same_order(cluster: LocalCluster) -> None:
    chosen = list(
        cells(Selection(series=(9, 15), page_sizes=(4096,), va_bits=(48,), regimes=(Regime.EL1,)))
    )
    there = list(run_matrix(chosen, workers=ClusterWorkers(cluster.scheduler_address)))
    here = list(run_matrix(chosen, jobs=2))
    assert [one.cell for one in there] == chosen
    assert [(one.status, one.findings) for one in there] == [
        (one.status, one.findings) for one in here
    ]


def test_a_worker_that_is_killed_loses_nothing(cluster: LocalCluster) -> None:
    some = frozenset({"drop", "register", "system-register"})
    plan = replace(PLAN, regimes=(Regime.NVHE,), operators=some)
    found = {}
    with ClusterWorkers(cluster.scheduler_address) as workers:
        for event in try_mutants(plan, workers=workers):
            if isinstance(event, Tried):
                if not found:
                    # It has been given others.
                    victim = min(one.pid for one in cluster.workers.values())
                    os.kill(victim, signal.SIGKILL)
                found[event.mutant.id] = event.result
    assert len(found) > 20
    assert found == results(plan, RoomWorkers(1))


SHAPES = (
    None, 5, b"bytes", Reply(None, 0.0), Reply(b"{}", None), Reply("{}", 0.0), Reply(b"{}", -1.0),
    Reply(b"{}", 0.0), Reply(None, 0.0, ("message",)), Reply(None, 0.0, (None, None, None, None)),
    Reply(None, 0.0, ("message", 5, None, None)), Reply(b"{}", float("nan")),
    Reply(b"[" * 9999, 0.0),
)  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_a_reply_of_any_shape_is_an_answer(number: int) -> None:
    """Who asked waited for ever."""
    done: Future[object] = Future()
    done.set_result(SHAPES[number])
    found = answered(done, Outcome)
    assert isinstance(found.given, NativeCrashError)
    assert "is none" in found.given.message
    assert found.seconds == 0


def test_a_file_that_is_open_here_does_not_travel(cluster: LocalCluster, tmp_path: Path) -> None:
    [cell] = cells(
        Selection(
            series=(15,), page_sizes=(4096,), va_bits=(48,), regimes=(Regime.EL1,),
            paths=(KexecPath.CRASH,),
        )
    )  # fmt: skip
    (tmp_path / "initrd").write_bytes(bytes(4096))
    job = Job(initrd=tmp_path / "initrd")
    with pytest.raises(RelokitError, match="does not go to a cluster"):
        list(run_matrix([cell], job, workers=ClusterWorkers(cluster.scheduler_address)))


def test_a_cluster_with_another_relokit_is_found_out(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relokit.cluster, "source_digest", lambda: b"another")
    workers = ClusterWorkers(cluster.scheduler_address)
    with workers:
        [only] = try_mutants(PLAN, workers=workers)
    assert isinstance(only, SurveyDone)
    assert "another relokit" in str(only.why_not)


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relokit.cluster, "WITHOUT_WORKERS", 0.5)
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(n_workers=1, **options) as losing:
        with ClusterWorkers(losing.scheduler_address) as workers:
            losing.scale(0)
            found = list(try_mutants(PLAN, workers=workers))
        with pytest.raises(RelokitError, match="no workers"):
            ClusterWorkers(losing.scheduler_address)
    [only] = found
    assert isinstance(only, SurveyDone)
    assert "lost all its workers" in str(only.why_not)


def test_where_no_scheduler_is_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relokit.cluster, "CONNECT", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense://x", ""):
        with pytest.raises(RelokitError, match="no Dask scheduler answers"):
            ClusterWorkers(address)


def test_without_the_extra_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RelokitError, match="not installed") as told:
        ClusterWorkers("tcp://127.0.0.1:9")
    assert told.value.hint == "pip install 'relokit[cluster]'"
    assert not isinstance(told.value, NativeCrashError)
