"""One-place edits of relocation code: each bad one is found at its instruction, no good one is."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.gas.encoder import Encoder
from relokit.codegen.target import Regime, Target
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.routines import routines_of
from relokit.runtime.run.prepare import prepare_machine
from relokit.runtime.run.verdict import run_machine
from support.machines import programs, quiet

HERE = Path(__file__).parent
JOB = Job(size=64 << 10, max_instructions=200_000)
THEN = " ; "
"""Between an instruction and the one that follows it, where the first is there twice."""


@dataclass(frozen=True)
class Scenario:
    """``fields`` of an entry, for one state of the series."""

    series: int
    fields: dict[str, Any]


def scenarios(pattern: str) -> list[Any]:
    """Those of all files that match, by state of the series."""
    found = []
    for path in sorted(HERE.glob(pattern)):
        with path.open("rb") as file:
            entries = tomllib.load(file)["scenario"]
        found += [
            pytest.param(Scenario(series, entry), id=f"{path.stem}, {series}: {entry['name']}")
            for entry in entries
            for series in entry["series"]
        ]
    assert found
    return found


@cache
def encoder() -> Encoder:
    return Encoder()


def edited(target: Target, edits: list[list[str]]) -> bytes:
    """The relocation code of ``target`` with each instruction replaced that an edit names."""
    code = routines_of(programs(target).kernel).relocation
    words = [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]
    texts = [disassemble(word, 4 * at) for at, word in enumerate(words)]
    for old, new in edits:
        first, _, following = old.partition(THEN)
        [at] = [
            number
            for number, text in enumerate(texts)
            if text == first and (not following or texts[number + 1] == following)
        ]
        [encoded] = encoder().encode([new])
        assert isinstance(encoded, bytes), encoded
        words[at] = int.from_bytes(encoded, "little")
    return b"".join(word.to_bytes(4, "little") for word in words)


def judged(scenario: Scenario, job: Job = JOB) -> Outcome:
    """What becomes of it."""
    target = Target(series=scenario.series, regime=Regime.NVHE)
    code = edited(target, scenario.fields["edit"])
    machine = prepare_machine(target, programs(target), job, quiet, relocation=code)
    try:
        return run_machine(machine, job, quiet)
    finally:
        machine.close()


@pytest.mark.parametrize("scenario", scenarios("bad_*.toml"))
def test_a_bad_one_is_found_where_it_is(scenario: Scenario) -> None:
    outcome = judged(scenario)
    wanted = scenario.fields
    severity = wanted.get("severity", "error")
    found = [one for one in outcome.findings if one.rule == wanted["rule"]]
    assert [str(one.severity) for one in found] == [severity], outcome.findings
    [finding] = found
    marked = [line for line in finding.listing if line.startswith(">")]
    assert len(marked) == 1
    assert marked[0].split("  ")[1].strip() == wanted["at"], finding
    text = "\n".join((finding.message, *finding.notes))
    for part in wanted.get("says", ()):
        assert part in text, text
    assert finding.place
    assert outcome.passed == (not wanted.get("fails", severity == "error"))
    others = {one.rule for one in outcome.findings} - {wanted["rule"], "caches.data"}
    assert others == set(wanted.get("also", ())), outcome.findings


@pytest.mark.parametrize("scenario", scenarios("good_*.toml"))
def test_a_good_one_passes(scenario: Scenario) -> None:
    outcome = judged(scenario)
    assert outcome.passed, outcome.findings
    assert sorted({one.rule for one in outcome.findings}) == scenario.fields.get("warns", [])
    assert not outcome.rules.not_judged


@pytest.mark.parametrize("scenario", scenarios("bad_*.toml"))
def test_a_plain_run_cannot_tell(scenario: Scenario) -> None:
    """So that nobody takes these for what a comparison of bytes finds."""
    if scenario.fields.get("shows"):
        return
    outcome = judged(scenario, replace(JOB, plain=True))
    assert outcome.passed
    assert {name.split(".")[0] for name in outcome.rules.not_judged} == {"caches", "fetch"}
