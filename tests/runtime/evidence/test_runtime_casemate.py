"""Traces for casemate: what is written, and what it answers.

The golden traces have casemate's answers beside them. casemate-check itself is asked where it is on
PATH; a model of the part of it that counts here is asked everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base.errors import FormatError
from relokit.codegen.target import Regime, Target
from relokit.runtime.evidence.casemate import CHUNK, MAX_PAGES, casemate_chunks
from relokit.runtime.evidence.evidence import Evidence
from relokit.runtime.evidence.evidence_file import judge_file
from relokit.runtime.kexec.job import Job, KexecPath, TraceFormat
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.tables import TableFacts, Tables, UnknownTables
from relokit.runtime.run.verdict import run
from support.casemate import answer, answer_of_the_tool, steps, told, tool
from support.casemate_cases import CASES, GOLDEN, PASSES, written
from support.machines import programs, quiet
from support.scenarios import Scenario, judged

JUDGES: dict[str, Callable[[Path], str]] = {"a model": lambda path: answer(path.read_text())}
if tool():
    JUDGES["casemate-check"] = answer_of_the_tool

SMALL = Job(size=8 << 10, trace_format=TraceFormat.CASEMATE)


@pytest.mark.parametrize("judge", list(JUDGES))
@pytest.mark.parametrize("name", list(CASES))
def test_the_golden_traces_have_their_answers(name: str, judge: str) -> None:
    assert JUDGES[judge](GOLDEN / f"{name}.trace") == CASES[name][1]


def test_every_golden_trace_is_a_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("judge", list(JUDGES))
@pytest.mark.parametrize("name", list(CASES))
def test_what_is_written_today_has_them_too(name: str, judge: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    written(name, path)
    assert JUDGES[judge](path) == CASES[name][1]
    # And says the same of the run, wherever things lie.
    assert told(path.read_text()) == told((GOLDEN / f"{name}.trace").read_text())


@pytest.mark.parametrize("judge", list(JUDGES))
@pytest.mark.parametrize("name", ["good", "no-tlbi", "no-empty-table", "no-isb", "no-dsb"])
@pytest.mark.parametrize("target", [{"regime": "vhe"}, {"page_size": "64k"}, {"va_bits": 39}])
def test_so_it_is_in_other_regimes_and_granules(
    target: dict[str, Any], name: str, judge: str, tmp_path: Path
) -> None:
    path = tmp_path / "trace"
    written(name, path, **target)
    assert JUDGES[judge](path) == CASES[name][1]


@pytest.mark.parametrize("judge", list(JUDGES))
@pytest.mark.parametrize("series", range(16))
@pytest.mark.parametrize("regime", list(Regime))
def test_the_series_passes(series: int, regime: Regime, judge: str, tmp_path: Path) -> None:
    target, path = Target(series=series, regime=regime), tmp_path / "trace"
    assert run(target, programs(target), SMALL, quiet, trace=path).passed
    assert JUDGES[judge](path) == PASSES


@pytest.mark.parametrize("path", [KexecPath.CRASH, KexecPath.PURGATORY, KexecPath.HIBERNATE])
def test_so_does_every_path(path: KexecPath, tmp_path: Path) -> None:
    target, file = Target(page_size=16384, regime=Regime.EL1), tmp_path / "trace"
    run(target, programs(target), replace(SMALL, path=path), quiet, trace=file)
    assert answer(file.read_text()) == PASSES


@pytest.mark.parametrize("name", [name for name, (what, _) in CASES.items() if "edit" in what])
def test_what_casemate_has_against_it_is_found_here_too(name: str) -> None:
    """casemate as an oracle for the rules on TLBs and break-before-make."""
    fields = {"name": name, "target": {"regime": "el1"}, **CASES[name][0]}
    outcome = judged(Scenario("casemate", 15, fields))
    assert {one.rule.split(".")[0] for one in outcome.findings if one.is_error} & {"bbm", "tlb"}


# What is written --------------------------------------------------------------------------------


@pytest.fixture(name="evidence", scope="module")
def _evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    path = tmp_path_factory.mktemp("run") / "trace"
    target = Target(regime=Regime.EL1)
    run(target, programs(target), replace(SMALL, trace_format=TraceFormat.RELOKIT), quiet,
        trace=path)  # fmt: skip
    return judge_file(path)[0]


def text_of(evidence: Evidence) -> str:
    return b"".join(casemate_chunks(evidence)).decode("ascii")


def facts_of(evidence: Evidence) -> TableFacts:
    facts = evidence.record.tables
    assert isinstance(facts, TableFacts)
    return facts


def with_tables(evidence: Evidence, tables: TableFacts | Unknown) -> Evidence:
    return replace(evidence, record=replace(evidence.record, tables=tables))


def test_every_page_of_every_table_is_told(evidence: Evidence) -> None:
    pages = [step.number("address") for step in steps(text_of(evidence)) if step.kind == "mem-init"]
    assert len(set(pages)) == len(pages)
    for tables in facts_of(evidence).tables:
        assert isinstance(tables, Tables)
        if not tables.empty:
            for start, end in tables.pages:
                assert set(range(start, end, CHUNK)) <= set(pages)


def test_the_place_in_the_source_is_told(evidence: Evidence) -> None:
    assert '(src "macros/mmu.j2:' in text_of(evidence)


def test_many_tables_take_more_than_one_list(evidence: Evidence) -> None:
    """A page has 512 entries."""
    facts = facts_of(evidence)
    [first, *_] = [one for one in facts.tables if isinstance(one, Tables) and not one.empty]
    large = replace(first, pages=((first.key.root, first.key.root + 1500 * CHUNK),))
    rest = tuple(large if one is first else one for one in facts.tables)
    text = text_of(with_tables(evidence, replace(facts, tables=rest)))
    assert sum(step.kind == "mem-init" for step in steps(text)) > 1500
    assert answer(text) in (PASSES, "double-use pte")


def unknown(one: Any) -> UnknownTables:
    return UnknownTables(one.key, Unknown("nobody knows"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda facts: Unknown("not recorded"), "not recorded"),
        (
            lambda facts: replace(facts, tables=(unknown(facts.tables[0]), *facts.tables[1:])),
            "nobody knows",
        ),
        (lambda facts: replace(facts, tables=facts.tables[:1]), "are not known"),
        (
            lambda facts: replace(
                facts,
                tables=tuple(
                    replace(one, pages=((one.key.root, one.key.root + (MAX_PAGES + 1) * CHUNK),))
                    for one in facts.tables
                ),
            ),
            "has room for 8,192 pages",
        ),
        (
            lambda facts: replace(
                facts, tables=tuple(replace(one, pages=((1 << 50, (1 << 50) + CHUNK),))
                                    for one in facts.tables),
            ),
            "48-bit addresses",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(
    change: Callable[[TableFacts], Any], problem: str, evidence: Evidence
) -> None:
    with pytest.raises(FormatError, match=problem) as caught:
        text_of(with_tables(evidence, change(facts_of(evidence))))
    assert caught.value.hint
