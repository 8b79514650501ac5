"""The time line: what a viewer of JSON trace events needs, and what a person looks for in it."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.target import MIB, Target
from relokit.runtime.evidence.evidence import Evidence
from relokit.runtime.evidence.evidence_file import judge_file
from relokit.runtime.evidence.timeline import MAX_SLICES, TRACKS, timeline_chunks
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.record.trace import Trace, TraceKind
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet
from support.scenarios import judged, scenarios

Event = dict[str, Any]


def drawn(evidence: Evidence, outcome: Outcome) -> list[Event]:
    text = b"".join(timeline_chunks(evidence, outcome.findings))
    whole = json.loads(text)
    assert whole["displayTimeUnit"] in ("ms", "ns")
    events: list[Event] = whole["traceEvents"]
    return events


@pytest.fixture(name="good", scope="module")
def _good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evidence, Outcome]:
    path = tmp_path_factory.mktemp("good") / "trace"
    target = Target(series=9)
    run(target, programs(target), Job(size=MIB), quiet, trace=path)
    return judge_file(path)


def by_track(events: list[Event]) -> dict[str, list[Event]]:
    names = {one["tid"]: one["args"]["name"] for one in events if one["name"] == "thread_name"}
    found: dict[str, list[Event]] = defaultdict(list)
    for one in events:
        if one["ph"] != "M":
            found[names[one["tid"]]].append(one)
    return found


def test_every_event_has_what_the_format_asks_for(good: tuple[Evidence, Outcome]) -> None:
    for one in drawn(*good):
        assert {"ph", "pid", "tid", "name", "args"} <= one.keys()
        assert one["ph"] in ("M", "X", "i")
        if one["ph"] == "X":
            assert type(one["ts"]) is type(one["dur"]) is int
            assert one["dur"] > 0
        if one["ph"] == "i":
            assert one["s"] in ("g", "p", "t")


def test_slices_of_a_track_follow_each_other(good: tuple[Evidence, Outcome]) -> None:
    """Slices that overlap and are not nested are not drawn."""
    evidence, _ = good
    trace = evidence.record.trace
    assert isinstance(trace, Trace)
    tracks = by_track(drawn(*good))
    for name in ("loads", "stores", "cache maintenance", "legs"):
        end = 0
        for one in tracks[name]:
            assert one["ts"] >= end or one["dur"] == 1, name
            end = one["ts"] + one["dur"]
        assert end <= trace.instructions + 1


def test_everything_recorded_is_in_it(good: tuple[Evidence, Outcome]) -> None:
    evidence, _ = good
    trace = evidence.record.trace
    assert isinstance(trace, Trace)
    tracks = by_track(drawn(*good))
    for track in TRACKS:
        records = trace.of(*track.kinds)
        told = tracks.get(track.name, [])
        assert (len(records) > 0) == (len(told) > 0), track.name
        assert sum(one["args"].get("bytes", 0) for one in told) == records["length"].sum()
    assert {kind for track in TRACKS for kind in track.kinds} == set(TraceKind)
    assert [one["name"] for one in tracks["legs"]] == ["the old kernel's last steps", "the move"]


def test_a_large_trace_is_drawn_in_as_many_slices_as_one_can_see(tmp_path: Path) -> None:
    target = Target()
    run(target, programs(target), Job(size=24 * MIB), quiet, trace=tmp_path / "trace")
    evidence, outcome = judge_file(tmp_path / "trace")
    tracks = by_track(drawn(evidence, outcome))
    assert len(tracks["loads"]) == len(tracks["barriers"]) == MAX_SLICES
    assert any("of loads" in one["name"] for one in tracks["loads"])
    trace = evidence.record.trace
    assert isinstance(trace, Trace)
    stored = trace.of(TraceKind.STORE)
    assert sum(one["args"]["bytes"] for one in tracks["stores"]) == stored["length"].sum()


def test_a_finding_is_where_its_instruction_is_first_carried_out(tmp_path: Path) -> None:
    [scenario, *_] = scenarios("bad_caches.toml")
    judged(scenario, trace=tmp_path / "trace")
    evidence, outcome = judge_file(tmp_path / "trace")
    tracks = by_track(drawn(evidence, outcome))
    found = {one["name"]: one for one in tracks["findings"]}
    assert len(tracks["findings"]) == len(outcome.findings)
    first = next(one for one in tracks["cache maintenance"] if one["name"] == "dc ivac")
    assert found["error: caches.discard"]["ts"] == first["ts"]
    assert "never cleaned" in found["error: caches.discard"]["args"]["message"]


def test_the_same_run_gives_the_same_bytes(good: tuple[Evidence, Outcome]) -> None:
    evidence, outcome = good
    first, second = (b"".join(timeline_chunks(evidence, outcome.findings)) for _ in range(2))
    assert first == second
    first.decode("ascii")
