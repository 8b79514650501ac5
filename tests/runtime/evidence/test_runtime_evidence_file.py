"""A evidence stored and read again: the same facts, the same verdict; nothing else is read."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relokit.codegen.base.documents import data_of, from_data
from relokit.codegen.base.errors import FormatError, RelokitError
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.evidence import bounds
from relokit.runtime.evidence.casemate import casemate_chunks
from relokit.runtime.evidence.evidence import Evidence, Subject
from relokit.runtime.evidence.evidence_file import (
    FACTS,
    MAX_FACT_VALUES,
    evidence_chunks,
    facts_of,
    judge_file,
    parse_evidence,
)
from relokit.runtime.evidence.timeline import timeline_chunks
from relokit.runtime.judge.outcome import JudgedTarget, Outcome
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record
from relokit.runtime.record.trace import Trace, TraceKind
from relokit.runtime.record.trace_file import read_trace, trace_chunks
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.run.verdict import run
from support.machines import prepared, programs, quiet
from support.records import GOOD
from support.scenarios import Scenario, judged, scenarios

SMALL = Job(size=64 << 10)


def same(first: Outcome, second: Outcome) -> None:
    """Both say the same, but for what a host's clock says."""
    moved = replace(first.relocation, seconds=0.0)
    assert replace(first, timings={}, relocation=moved) == replace(second, timings={})


def check(target: Target, job: Job, path: Path) -> Outcome:
    outcome = run(target, programs(target), job, quiet, trace=path)
    evidence, again = judge_file(path)
    same(outcome, again)
    assert evidence.subject.name == target.name
    return outcome


@pytest.mark.parametrize("series", range(16))
@pytest.mark.parametrize("regime", [Regime.EL1, Regime.NVHE])
def test_a_file_is_judged_as_the_run_was(series: int, regime: Regime, tmp_path: Path) -> None:
    outcome = check(Target(series=series, regime=regime), SMALL, tmp_path / "trace")
    assert outcome.passed


@pytest.mark.parametrize("path", [KexecPath.CRASH, KexecPath.IN_PLACE, KexecPath.HIBERNATE])
@pytest.mark.parametrize("series", [0, 9, 15])
def test_so_it_is_on_every_path(series: int, path: KexecPath, tmp_path: Path) -> None:
    check(Target(series=series, regime=Regime.VHE), replace(SMALL, path=path), tmp_path / "trace")


@pytest.mark.parametrize("page_size", [16384, 65536])
def test_so_it_is_with_other_granules_and_a_boot(page_size: int, tmp_path: Path) -> None:
    target = Target(page_size=page_size, va_bits=48, regime=Regime.VHE)
    outcome = check(target, Job(boot=5.0), tmp_path / "trace")
    assert outcome.console


OF_OTHER_FACTS = frozenset(
    ["kernel", "loader", "chosen", "initrd", "under", "damage", "forgets", "routine"]
)


def each_kind() -> list[Scenario]:
    """One of each rule, path, and set of what a scenario may have beside its edits."""
    kinds: dict[Any, Scenario] = {}
    for one in scenarios("bad_*.toml"):
        kind = one.fields["rule"], one.job.path, OF_OTHER_FACTS & set(one.fields)
        kinds.setdefault(kind, one)
    return list(kinds.values())


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.id) for one in each_kind()])
def test_what_is_found_in_a_run_is_found_in_its_file(scenario: Scenario, tmp_path: Path) -> None:
    outcome = judged(scenario, trace=tmp_path / "trace")
    same(outcome, judge_file(tmp_path / "trace")[1])
    assert outcome.findings


def test_a_strict_judge_fails_what_is_warned_of(tmp_path: Path) -> None:
    target, job = Target(series=15), replace(SMALL, path=KexecPath.IN_PLACE)
    outcome = check(target, job, tmp_path / "trace")
    assert outcome.passed
    assert outcome.findings
    assert not judge_file(tmp_path / "trace", strict=True)[1].passed


def test_equal_runs_have_equal_files(tmp_path: Path) -> None:
    """Whatever the host's clock says."""
    target = Target(regime=Regime.EL1)
    first, second = (tmp_path / name for name in ("first", "second"))
    for path in (first, second):
        run(target, programs(target), SMALL, quiet, trace=path)
    assert first.read_bytes() == second.read_bytes()


def test_every_fact_travels(evidence: Evidence) -> None:
    """Whoever adds one to Record has it in the file, if it is dataclasses of plain types."""
    assert {one.name for one in fields(Record)} == {*FACTS, "trace"}
    for name, hint in FACTS.items():
        value = getattr(evidence.record, name)
        assert from_data(hint, json.loads(json.dumps(data_of(hint, value)))) == value, name


# Unknown facts ----------------------------------------------------------------------------------


def stored(evidence: Evidence, folder: Path) -> Path:
    path = folder / "trace"
    path.write_bytes(b"".join(evidence_chunks(evidence)))
    return path


def subject_of(record: Record) -> Subject:
    target = Target()
    return Subject(target.name, JudgedTarget.of(target), (), 0)


@pytest.fixture(name="evidence", scope="module")
def _evidence() -> Evidence:
    target = Target(regime=Regime.EL1)
    with prepared(target, SMALL) as machine:
        record = execute(machine, open_cpu(machine), SMALL, quiet)
    return Evidence(subject_of(record), record)


def test_what_lies_before_the_recording_is_not_judged(evidence: Evidence, tmp_path: Path) -> None:
    """Neither a finding nor a pass: as it will be of a kernel that was not ours from the start."""
    why = "before the recording"
    record = replace(evidence.record, prehistory=Unknown(why))
    _, outcome = judge_file(stored(replace(evidence, record=record), tmp_path))
    full = judge_file(stored(evidence, tmp_path))[1]
    unjudged = {rule for rule, reason in outcome.rules.not_judged.items() if reason == why}
    assert unjudged == {rule for rule in full.rules.applied if needs_prehistory(rule)}
    assert not {one.rule for one in outcome.findings} & unjudged
    # All other rules say what they said.
    assert set(full.rules.applied) - unjudged == set(outcome.rules.applied)


def needs_prehistory(rule: str) -> bool:
    return rule.split(".")[0] in ("caches", "fetch")


UNKNOWABLE = [name for name, hint in FACTS.items() if Unknown in getattr(hint, "__args__", ())]


@pytest.mark.parametrize("name", UNKNOWABLE)
def test_a_fact_that_nobody_knows_is_no_finding_and_no_pass(
    name: str, evidence: Evidence, tmp_path: Path
) -> None:
    """Whatever fact it is, of whatever rule: what asks for it says so."""
    why = f"nobody knows: {name}"
    full = judge_file(stored(evidence, tmp_path))[1]
    record = replace(evidence.record, **{name: Unknown(why)})
    _, outcome = judge_file(stored(replace(evidence, record=record), tmp_path))
    lost = set(full.rules.applied) - set(outcome.rules.applied)
    assert lost <= set(outcome.rules.not_judged)
    assert {outcome.rules.not_judged[rule] for rule in lost} <= {why}
    # Another rule may step in for it.
    assert set(outcome.rules.applied) <= {*full.rules.applied, *full.rules.not_applicable}
    told = {(one.rule, one.message) for one in full.findings}
    assert {(one.rule, one.message) for one in outcome.findings} <= told


@pytest.mark.parametrize(
    "name", ["prehistory", "code", "arrived", "ownership", "prepared", "regime"]
)
def test_a_fact_that_the_file_lacks_is_unknown(
    name: str, evidence: Evidence, tmp_path: Path
) -> None:
    path = stored(evidence, tmp_path)
    path.write_bytes(altered(path, lambda whole: whole["facts"].pop(name)))
    _, outcome = judge_file(path)
    reasons = set(outcome.rules.not_judged.values())
    assert reasons == {f"the trace file does not have it: {name}"} or name == "code"
    assert outcome.passed


def test_facts_of_hand_made_records_travel(tmp_path: Path) -> None:
    record = GOOD
    assert isinstance(record.trace, Trace)
    evidence = Evidence(subject_of(record), record)
    found, _ = parse_evidence(read_trace(stored(evidence, tmp_path)), where="x")
    assert facts_of(found) == facts_of(evidence)
    assert found.record.trace == record.trace


# Hostile files ----------------------------------------------------------------------------------


def altered(path: Path, change: Callable[[Any], object]) -> bytes:
    """The file with other facts, and the digest that it would have."""
    found = read_trace(path)
    whole = json.loads(bytes(found.facts))
    change(whole)
    return b"".join(trace_chunks(found.trace, json.dumps(whole).encode()))


@cache
def a_file() -> bytes:
    """A small run's that does not come to its end: there is a scene in it."""
    target = Target(regime=Regime.EL1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        job = replace(SMALL, max_instructions=3000)
        assert not run(target, programs(target), job, quiet, trace=path).passed
        return path.read_bytes()


@pytest.fixture(name="good")
def _good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file's path, on a host that has 64 MiB for judging."""
    path = tmp_path / "good"
    path.write_bytes(a_file())
    monkeypatch.setattr(bounds, "host_limit", lambda: (64 * MIB, "a test"))
    return path


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in list(inner)[:30]:
            yield from places(one, (*at, key))


def value_at(whole: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        whole = whole[key]
    return whole


def put(whole: Any, at: tuple[Any, ...], value: Any) -> None:
    for key in at[:-1]:
        whole = whole[key]
    whole[at[-1]] = value


KEYS = st.sampled_from(["Unknown", "why", "Region", "0", "-1", "00"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 66), 1 << 66)
    | st.sampled_from([0, 1, 1 << 52, (1 << 64) - 1, 1 << 64])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | KEYS, inner, max_size=3)
    ),
    max_leaves=6,
)


def found_or_refused(path: Path) -> str | None:
    """``judged``, or the place that an error names. What is judged is written for other tools."""
    try:
        evidence, outcome = judge_file(path)
    except RelokitError as error:
        return error.where
    for _ in timeline_chunks(evidence, outcome.findings):
        pass
    with suppress(FormatError):
        for _ in casemate_chunks(evidence):
            pass
    return "judged"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_facts_of_another_kind_are_refused_or_judged(data: st.DataObject, good: Path) -> None:
    """With the right digest: as someone would write it who wants to get past that."""

    def change(whole: Any) -> None:
        where = [at for at in places(whole) if at]
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.sampled_from(where))
            try:
                put(whole, at, data.draw(JSON))
            except (KeyError, TypeError, IndexError):
                continue  # what was put there first has no such place

    path = good.with_name("changed")
    path.write_bytes(altered(good, change))
    assert found_or_refused(path) in (str(path), "judged")


NUMBERS = st.integers(0, (1 << 64) - 1) | st.sampled_from(
    [-(1 << 63), -1, 0, 1, 4095, 1 << 32, 1 << 52, (1 << 52) - 1, 1 << 63, (1 << 64) - 1]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_facts_with_other_numbers_are_refused_or_judged(data: st.DataObject, good: Path) -> None:
    """Of the right types, and together what no run has."""

    def change(whole: Any) -> None:
        where = [at for at in places(whole) if type(value_at(whole, at)) is int]
        for at in data.draw(st.lists(st.sampled_from(where), min_size=1, max_size=4)):
            put(whole, at, data.draw(NUMBERS))

    path = good.with_name("changed")
    path.write_bytes(altered(good, change))
    assert found_or_refused(path) in (str(path), "judged")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_records_of_another_kind_are_refused_or_judged(data: st.DataObject, good: Path) -> None:
    found = read_trace(good)
    records = found.trace.records.copy()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(records) - 1))
        name = data.draw(st.sampled_from(records.dtype.names))
        bits = 8 * records.dtype[name].itemsize
        records[at][name] = data.draw(
            st.integers(0, (1 << bits) - 1) | st.sampled_from([0, 1, (1 << bits) - 1])
        )
    trace = replace(found.trace, records=records)
    path = good.with_name("changed")
    path.write_bytes(b"".join(trace_chunks(trace, bytes(found.facts))))
    assert found_or_refused(path) in (str(path), "judged")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 1 << 30), value=st.integers(1, 255), seal=st.booleans())
@example(at=20, value=1, seal=True)
def test_bytes_that_were_altered_are_refused_or_judged(
    at: int, value: int, seal: bool, good: Path
) -> None:
    content = bytearray(a_file())
    content[at % len(content)] ^= value
    if seal:
        content[-32:] = hashlib.blake2b(content[:-32], digest_size=32).digest()
    path = good.with_name("changed")
    path.write_bytes(content)
    assert found_or_refused(path) in ({str(path)} if not seal else {str(path), "judged"})


def rename(whole: Any) -> None:
    whole["facts"]["colour"] = whole["facts"].pop("legs")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda whole: whole.pop("subject"), "not the keys"),
        (lambda whole: whole["facts"].pop("legs"), "'legs' is not there"),
        (rename, "no fact 'colour'"),
        (lambda whole: whole["facts"].update(trace=None), "no fact 'trace'"),
        (lambda whole: whole["facts"]["promises"][0].update(colour=1), "no 'colour'"),
        (lambda whole: whole["facts"].update(regime={"Unknown": {}}), "without 'why'"),
        (lambda whole: whole["facts"].update(regime={"Region": {}}), "none of Unknown"),
        (lambda whole: whole["facts"].update(regime="el9"), "'el9' is none of"),
        (lambda whole: whole["facts"].update(stub_by_kimage=1), "int where"),
        (lambda whole: whole["facts"].update(segments=[1 << 64]), "64-bit"),
        (lambda whole: whole["facts"].update(segments=[float("nan")]), "64-bit"),
        (lambda whole: whole.update(relokit=7), "the version"),
    ],
)
def test_what_is_wrong_is_said(change: Callable[[Any], None], problem: str, good: Path) -> None:
    path = good.with_name("changed")
    path.write_bytes(altered(good, change))
    with pytest.raises(FormatError, match=problem) as caught:
        judge_file(path)
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_many_facts_take_no_memory(good: Path) -> None:
    path = good.with_name("changed")
    found = read_trace(good)
    facts = b"[" + b"[]," * MAX_FACT_VALUES + b"[]]"
    path.write_bytes(b"".join(trace_chunks(found.trace, facts)))
    tracemalloc.start()
    with pytest.raises(FormatError, match="more than 1,048,576 facts"):
        judge_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(facts)


@pytest.mark.parametrize(
    "change",
    [
        {"length": 1 << 50, "pa": 0},
        {"length": 1 << 63, "pa": 1 << 63},
    ],
)
def test_a_record_of_all_memory_is_not_judged(change: dict[str, int], good: Path) -> None:
    found = read_trace(good)
    records = found.trace.records.copy()
    [at] = (records["kind"] == TraceKind.LOAD).nonzero()[0][:1]
    for name, value in {"va": 0, **change}.items():
        records[at][name] = value
    path = good.with_name("changed")
    trace = replace(found.trace, records=records)
    path.write_bytes(b"".join(trace_chunks(trace, bytes(found.facts))))
    with pytest.raises(FormatError, match="that is no move"):
        judge_file(path)


def test_the_file_that_is_altered_here_is_judged(good: Path) -> None:
    """Else all of the above would be refused for one reason."""
    _, outcome = judge_file(good)
    assert [one.rule for one in outcome.findings]
    assert outcome.rules.applied
