"""No rule depends on the engine's habits: what it executes at a time, when it forgets translations
and in which order it asks for them. The same is found, and the same is in the trace but for fills.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import cycle
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from relokit.codegen.target import Regime
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.kexec.job import KexecPath
from relokit.runtime.record.record import Record
from relokit.runtime.record.trace import Trace, TraceKind
from relokit.runtime.run import verdict
from support.accesses import is_event
from support.habits import HABITS, Habit, Undo, with_habit
from support.scenarios import Scenario, judged, scenarios, under

SIZE = 4 << 10
"""A page, where a scenario does not say that it takes more."""
STEPS = 1 << 30
"""Blocks of one instruction are counted as the blocks they are of."""

RUNS_WILD = {"own.store"}
"""Where code, lists or tables are overwritten and used, what then happens is the machine's own."""


def small(scenario: Scenario) -> Scenario:
    """It, with no more to do than it needs."""
    job = scenario.fields.get("job", {}) | {"max_instructions": STEPS}
    # What runs without an end would do so for long.
    if "run.limit" in scenario.fields.get("also", ()):
        job["max_instructions"] = 200_000
    return replace(scenario, fields=scenario.fields | {"job": {"size": SIZE} | job})


def moves() -> list[Scenario]:
    """Every scenario of a move, in the last of its states: what comes after it is not recorded."""
    found = [one for one in scenarios("*.toml") if "kernel" not in one.fields]
    return list({(one.file, one.name): small(one) for one in found}.values())


def goes_by_steps(scenario: Scenario) -> bool:
    """Steps go on past where an interrupt stops the engine."""
    return scenario.job.max_instructions == STEPS and scenario.job.interrupts is None


@cache
def stepped() -> frozenset[str]:
    """Ids of the first scenario of each rule and of all good ones: steps take longest by far.

    What outlives no barrier outlives no instruction either: others only get the latter.
    """
    first: dict[str, str] = {}
    for one in filter(goes_by_steps, moves()):
        first.setdefault(one.fields.get("rule", one.id), one.id)
    return frozenset(first.values())


def of_translations(scenario: Scenario) -> bool:
    """Whether it is a good one, or its rule is one that barriers and translations decide."""
    book = scenario.fields.get("rule", "").partition(".")[0]
    return book in {"", "bbm", "context", "fetch", "tlb"}


@contextmanager
def kept() -> Iterator[list[Record]]:
    """The records that are judged while this is entered."""
    records: list[Record] = []

    def keep(record: Record) -> Record:
        records.append(record)
        return record

    execute, resume = verdict.execute, verdict.execute_resume
    with (
        patch.object(verdict, "execute", lambda *args: keep(execute(*args))),
        patch.object(verdict, "execute_resume", lambda *args: keep(resume(*args))),
    ):
        yield records


def told(findings: tuple[Finding, ...]) -> list[Any]:
    """All that is said, but for how long it took."""
    return [
        (one.rule, one.severity, one.address, one.place, one.notes, one.cause,
         re.sub(r", [0-9.e-]+ s ", " ", one.message))
        for one in findings
    ]  # fmt: skip


def found(scenario: Scenario, habit: Habit | None = None) -> tuple[list[Any], Record]:
    """What is found with ``habit``, and in which record."""
    with kept() as records, with_habit(habit):
        outcome = judged(scenario)
    [record] = records
    return told(outcome.findings), under(scenario.fields.get("under", {}), record)


def of_its_rule(scenario: Scenario, findings: list[Any]) -> list[Any]:
    return [one for one in findings if one[0] == scenario.fields["rule"]]


def without_fills(record: Record) -> Any:
    assert isinstance(record.trace, Trace)
    records = record.trace.records
    return records[records["kind"] != TraceKind.FILL]


def walked_otherwise(trace: Trace, *, first: bool) -> Trace:
    """``trace`` with the fills between two events reversed, before or behind all else."""
    order: list[int] = []
    fills: list[int] = []
    others: list[int] = []

    def end() -> None:
        order.extend([*fills[::-1], *others] if first else [*others, *fills[::-1]])
        fills.clear()
        others.clear()

    for number, one in enumerate(trace.records):
        if is_event(one):
            end()
            order.append(number)
        else:
            (fills if one["kind"] == TraceKind.FILL else others).append(number)
    end()
    return replace(trace, records=trace.records[order])


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.id) for one in moves()])
def test_the_same_is_found(scenario: Scenario) -> None:
    findings, record = found(scenario)
    assert "rule" not in scenario.fields or of_its_rule(scenario, findings)
    for name, habit in HABITS.items():
        if name != "forgets always" and scenario.id not in stepped():
            continue
        if name == "forgets at barriers" and not of_translations(scenario):
            continue
        others, other = found(scenario, habit)
        if RUNS_WILD & set(scenario.fields.get("also", ())):
            assert of_its_rule(scenario, others) == of_its_rule(scenario, findings), name
            continue
        assert others == findings, name
        assert np.array_equal(without_fills(other), without_fills(record)), name
    assert isinstance(record.trace, Trace)
    for first in (True, False):
        trace = walked_otherwise(record.trace, first=first)
        assert told(judge(replace(record, trace=trace)).findings) == findings


def good_runs() -> list[tuple[int, Regime, KexecPath]]:
    """Each path in each state, by each regime in turn; the last state by all of them."""
    found = {(15, regime, path): None for regime in Regime for path in KexecPath}
    regimes = cycle(Regime)
    for path in KexecPath:
        found |= {(series, next(regimes), path): None for series in (0, 5, 9, 12)}
    return [*found]


@pytest.mark.parametrize(("series", "regime", "path"), good_runs())
def test_good_code_is_good_whatever_the_engine_does(
    series: int, regime: Regime, path: KexecPath
) -> None:
    fields = {"name": "as it is", "target": {"regime": regime}, "job": {"path": path}}
    scenario = small(Scenario("none", series, fields))
    findings, record = found(scenario)
    for name, habit in HABITS.items():
        others, other = found(scenario, habit)
        assert others == findings, name
        assert np.array_equal(without_fills(other), without_fills(record)), name


def test_habits_are_other_habits() -> None:
    """So that the tests above are some: fills differ in number, and steps are steps.

    What the trace says of translations is the same for all that.
    """
    scenario = small(Scenario("none", 15, {"name": "as it is"}))
    counts, told_fills = {}, set()
    for name, habit in {"none": None, **HABITS}.items():
        cpus: list[Cpu] = []

        def watched(cpu: Cpu, habit: Habit | None = habit, cpus: list[Cpu] = cpus) -> Undo:
            cpus.append(cpu)
            return habit(cpu) if habit else lambda: None

        _, record = found(scenario, watched)
        assert isinstance(record.trace, Trace)
        told_fills.add(len(record.trace.of(TraceKind.FILL)))
        counts[name] = cpus[0].mmu.fills, record.legs[-1].stop.blocks
    assert counts["forgets at barriers"][0] > counts["none"][0]
    assert counts["forgets always"][0] > counts["forgets at barriers"][0]
    assert counts["single steps"][1] > 5 * counts["none"][1]
    assert len(told_fills) == 1
