"""Results for CI of every command that has them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from relokit.cli.results.kexec_results import kexec_results
from relokit.cli.results.matrix_results import ResultsView
from relokit.cli.results.mutation_results import mutation_results
from relokit.cli.results.result_cases import CaseEnd
from relokit.cli.results.wanted import WantedResults
from relokit.cli.results.whole_results import whole_results
from relokit.cli.results.written import text_of_results
from relokit.cli.terminal.matrix_view import Shared
from relokit.diffing.kernels.whole import WholeDiff
from relokit.matrix import Tally
from relokit.mutation.mutation_report import Campaign
from relokit.runtime.judge.outcome import Status
from relokit.runtime.kexec.job import Job
from relokit.runtime.live.live_outcome import LiveOutcome, LoadWindow
from relokit.runtime.live.live_stations import Station, StationName
from relokit.runtime.live.page_digests import ChangedPages
from support.live_outcomes import live_outcome

pytestmark = pytest.mark.usefixtures("kept")

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]
X1_NOT_ZERO = ("relocate_kernel.S.j2", "\tmov\tx1, xzr\n", "\tmov\tx1, #1\n")
FORMS = ("junit", "sarif", "github", "ktap")


def ktap(text: str) -> dict[str, str]:
    """By name of the case, ``ok``, ``not ok``, and the directive."""
    found = re.findall(r"^(ok|not ok) [0-9]+ - ([^#\n]*?)( # [A-Z]+)?(?: .*)?$", text, re.MULTILINE)
    return {name: (ok + directive).replace(" # ", " ") for ok, name, directive in found}


def test_a_diff_of_two_states(cli: Cli) -> None:
    operands = ("series:11", "series:12")
    result = cli("diff", *operands, "--format", "ktap")
    document = cli("diff", *operands, "--json").document
    told = ktap(result.out)
    assert (result.code, len(told)) == (1, len(document["routines"]))
    differ = {hunk["routine"] for hunk in document["hunks"]}
    assert {name for name, said in told.items() if said == "not ok"} == differ
    # Of what was not asked for nothing differs.
    hints = cli("diff", *operands, "--only", "hint", "--format", "ktap")
    assert (hints.code, set(ktap(hints.out).values())) == (0, {"ok"})
    log = json.loads(cli("diff", *operands, "--format", "sarif").out)
    assert len(log["runs"][0]["results"]) == len(document["hunks"])


@pytest.mark.parametrize("form", FORMS)
def test_a_campaign_that_was_ended_is_not_whole_in_its_results(form: str, tmp_path: Path) -> None:
    """All that came by then passed, and so did the results, by all that CI counts."""
    output = tmp_path / "results"
    view = ResultsView(Shared(Job()), WantedResults("matrix", form, output, False), (), None)
    view.finish(Tally(642, 2), Signals.SIGINT)
    mutants = mutation_results("mutate", Campaign(), (), ended_by="interrupted (SIGINT)")
    for text, why in (
        (output.read_text(), "interrupted (SIGINT): 0 of 642 cells"),
        (text_of_results(mutants, form, timings=False), "interrupted (SIGINT): 0 of 0 mutants"),
    ):
        wrong = {
            "junit": 'errors="1"',
            "sarif": '"executionSuccessful": false',
            "github": f"::error::the rest: {why}",
            "ktap": "not ok 1 - the rest",
        }
        assert wrong[form] in text
        assert why in text


def test_a_mutant_is_a_case(cli: Cli, tmp_path: Path) -> None:
    some = ("mutate", "--routine", "soft-restart", "--operator", "drop", "--el", "nvhe")
    arguments = (*some, "--jobs", "1", "--results", tmp_path / "results")
    result = cli(*arguments, "--format", "ktap")
    row = cli(*arguments, "--json").document["all"]
    said = list(ktap(result.out).values())
    assert said.count("ok") == row["killed"]
    assert said.count("ok SKIP") == row["equivalent"]
    assert said.count("not ok") == row["survived"] - row["equivalent"]
    assert len(said) > 0
    # Its tables have room in 80 columns.
    rows = [
        line
        for line in cli(*arguments).out.splitlines()
        if re.search(r"^\S.* [0-9]+$|  lent ", line)
    ]
    assert len(rows) == 4
    assert max(map(len, rows)) <= 80


OUTCOME = live_outcome(
    stations=(
        Station(StationName.USER_SPACE, reached=True, instructions=2),
        Station(StationName.LOADED, reached=False, why="it\x1b was not"),
    ),
)


@pytest.mark.parametrize(
    ("outcome", "ends"),
    [
        (OUTCOME, [CaseEnd.PASSED, CaseEnd.FAILED]),
        (replace(OUTCOME, status=Status.NO_ANSWER), [CaseEnd.PASSED, CaseEnd.NO_ANSWER]),
        (replace(OUTCOME, status=Status.PASS), [CaseEnd.PASSED, CaseEnd.SKIPPED]),
        (
            replace(OUTCOME, stations=OUTCOME.stations[:1], ended="halted"),
            [CaseEnd.FAILED, CaseEnd.PASSED],
        ),
        (
            replace(OUTCOME, load=LoadWindow(1, {}, 4, (ChangedPages("next", 2, 4096),))),
            [CaseEnd.PASSED, CaseEnd.FAILED, CaseEnd.FAILED],
        ),
    ],
)
def test_stations_of_a_kexec(outcome: LiveOutcome, ends: list[CaseEnd]) -> None:
    found = kexec_results("relokit kexec", outcome)
    assert [case.end for case in found.cases] == ends
    for form in FORMS:
        assert "\x1b" not in text_of_results(found, form, timings=False)


def test_a_matrix_has_one_result_a_cause(cli: Cli, edited: Edit) -> None:
    cells = ("matrix", "--series", "15", "--page-size", "4k", "--va-bits", "39,48")
    mine = edited(*X1_NOT_ZERO)
    arguments = (
        *cells,
        "--path",
        "normal",
        "--payload",
        "shuffled",
        "--templates",
        mine,
        "--jobs",
        "1",
    )
    log = json.loads(cli(*arguments, "--format", "sarif").out)
    (result,) = log["runs"][0]["results"]
    document = cli(*arguments, "--json").document
    (cause,) = document["causes"]
    assert result["occurrenceCount"] == len(cause["cells"]) == document["counts"]["fail"]
    assert cause["place"] == "relocate_kernel.S.j2:131"
    assert cause["where"] == f"{len(cause['cells'])} cells, all el1 and vhe"
    told = cli(*arguments).out
    assert f"  {cause['where']}: handoff.x1 at relocate_kernel.S.j2:131\n" in told
    github = cli(*arguments, "--format", "github").out
    assert github.count("::error ") == 1
    assert f"and {len(cause['cells']) - 3} more" in github


def test_a_template_error_of_a_matrix_is_told_once(cli: Cli, edited: Edit) -> None:
    mine = edited(X1_NOT_ZERO[0], X1_NOT_ZERO[1], "\tmov\tx1, {{ foo }}\n")
    arguments = ("matrix", "--series", "15", "--page-size", "4k", "--templates", mine)
    result = cli(*arguments)
    first, _, heading, cause, last = result.out.splitlines()
    assert (result.code, result.out.count("is undefined"), heading) == (1, 2, "failed:")
    assert "matrix.error: relocate_kernel.S.j2:131: 'foo' is undefined" in first
    count = int(last.split(" fail")[0].split()[-1])
    said = f"  all {count} cells: matrix.error at relocate_kernel.S.j2:131: 'foo' is undefined"
    assert cause == said
    github = cli(*arguments, "--format", "github").out.splitlines()
    assert [line[:9] for line in github] == ["::error t", "::notice:", "results o"]
    assert f"file={mine}/relocate_kernel.S.j2,line=131" in github[0]


@pytest.mark.parametrize("form", FORMS)
def test_what_two_kernels_were_not_compared_in_is_said_in_every_form(form: str) -> None:
    """The same, as far as it was looked at: that is not the same."""
    found = WholeDiff("a", "b", (), ("f",), ("huge",), data=3, data_not_compared=2,
                      tables_not_compared=(".exit.data",))  # fmt: skip
    text = text_of_results(whole_results("relokit diff --all a b", found), form, timings=False)
    for part in ("1 left out", "data not compared: 2 instructions", ".exit.data"):
        assert part in text


@pytest.mark.parametrize("form", FORMS)
def test_what_was_not_judged_is_said_in_every_form(cli: Cli, edited: Edit, form: str) -> None:
    load = "\tldr\tx28, [x0"
    templates = edited("relocate_kernel.S.j2", load, f"\tudf\t#7\n{load}")
    silent = cli("run", "--templates", templates, "--json").document["rules"]["not_judged"]
    text = cli("run", "--templates", templates, "--format", form).out
    assert "handoff.x1" in silent
    for rule, why in silent.items():
        assert any(rule in line and why in line for line in text.splitlines()), rule
