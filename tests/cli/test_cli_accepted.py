"""What a project accepts is said in every form, and never reads as a verdict without any."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relokit.cli.pages.campaign_report import mutants_report
from relokit.cli.projects import Judging
from relokit.cli.results.kexec_results import kexec_results
from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.cli.terminal.kexec_view import kexec_summary
from relokit.cli.terminal.mutation_view import text_of
from relokit.facade import run as run_in_api
from relokit.mutation.mutation_report import Left, MutantRow, MutationReport, TargetTried
from relokit.project.known_findings import FindingPolicy
from relokit.project.project_file import line_of, read_project
from relokit.reporting.run_report import HowMade
from relokit.runtime.judge.outcome import Finding, Outcome, Status
from relokit.runtime.kexec.job import Job
from relokit.runtime.live.live_outcome import ChangedPages, LoadWindow
from relokit.runtime.live.live_stations import Station, StationName
from support.live_outcomes import live_outcome

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]
X1_NOT_ZERO = ("relocate_kernel.S.j2", "\tmov\tx1, xzr\n", "\tmov\tx1, #1\n")
BEFORE = "1801353600"
"""2027-01-31 in seconds since 1970."""
TEXT = "1 known finding accepted (we know)"
FORMS = ("junit", "sarif", "github", "ktap")
ALLOWED = "1 known finding accepted (relokit.toml allows 1 survivors)"
CELL = ("matrix", "--cell", "series15/4k/va48/vhe/normal/shuffled", "--plain")
LEFT = "\t.type go, %function\ngo:\tisb\n\tmov\tx0, #1\n\tret\n\t.size go, . - go\n"


def suppress(rule: str, place: str = "", until: str = "2027-01-31") -> str:
    where = f'place = "{place}"\n' if place else ""
    return f'[[suppress]]\nrule = "{rule}"\n{where}reason = "we know"\nuntil = {until}\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", BEFORE)
    (tmp_path / "left.S").write_text(LEFT)
    (tmp_path / "right.S").write_text(LEFT.replace("#1", "#2"))
    return tmp_path


def verdict_of_page(path: Path) -> str:
    found = re.search(r'<p class="verdict (\w+)">([^<]*)', path.read_text())
    assert found is not None
    return f"{found[1]}: {html.unescape(found[2])}"


def test_a_run_says_it_in_every_form(cli: Cli, here: Path, edited: Edit) -> None:
    (here / "relokit.toml").write_text(suppress("handoff.x1"))
    templates = edited(*X1_NOT_ZERO)
    command = ("run", "--el", "vhe", "--size", "4k", "--plain", "--templates", templates)
    people = cli(*command, "--report", "page.html")
    assert (people.code, f"PASS, {TEXT}" in people.out) == (0, True)
    assert verdict_of_page(here / "page.html") == f"open: PASS, {TEXT}"
    document = cli(*command, "--json").document
    assert (document["status"], document["accepted"]) == ("pass", TEXT)
    for form in FORMS:
        told = cli(*command, "--format", form)
        assert (told.code, TEXT in told.out) == (0, True), form
    assert re.search(f"not ok [0-9]+ - handoff.x1 # TODO {re.escape(TEXT)}", told.out)
    # By a baseline, too.
    (here / "relokit.toml").unlink()
    assert cli(*command, "--write-baseline", "b.json").code == 1
    known = cli(*command, "--baseline", "b.json")
    said = "PASS, 1 known finding accepted (in the baseline)"
    assert (known.code, said in known.out) == (0, True)


def test_a_matrix_says_it_in_every_form(cli: Cli, here: Path, edited: Edit) -> None:
    (here / "relokit.toml").write_text(suppress("handoff.x1"))
    options = ("--templates", edited(*X1_NOT_ZERO), "--report", "page.html")
    people = cli(*CELL, *options, "--format", "ktap", "-o", "results")
    said = f"1 pass, 0 fail, 0 unsupported, {TEXT}"
    assert (people.code, said in people.out.replace("\n", " ")) == (0, True)
    assert verdict_of_page(here / "page.html") == f"open: PASS, {TEXT}"
    lines = (here / "results").read_text().splitlines()
    assert f"not ok 1 - {CELL[2]} # TODO {TEXT}" in lines
    assert f"# {said}" in lines


def test_a_stored_trace_is_judged_by_the_project(cli: Cli, here: Path, edited: Edit) -> None:
    options = ("--el", "vhe", "--size", "4k", "--templates", edited(*X1_NOT_ZERO))
    assert cli("run", *options, "--trace", "stored").code == 1
    assert cli("judge", "stored").code == 1
    (here / "relokit.toml").write_text(suppress("handoff.x1", "arm64_relocate_new_kernel"))
    known = cli("judge", "stored")
    assert (known.code, f"PASS, {TEXT}" in known.out) == (0, True)
    (here / "relokit.toml").write_text("[thresholds]\ninstructions = 1\n")
    assert "threshold.instructions" in cli("judge", "stored").out


@pytest.fixture(scope="module")
def bad_handover() -> Outcome:
    """A hand-over with one finding that fails it."""
    outcome = run_in_api(job=Job(size=4096, plain=True))
    found = (*outcome.findings, Finding("handoff.x1", "x1 is 1", place="f+0x4"))
    return replace(outcome, status=Status.FAIL, findings=found)


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        ("", Status.PASS),
        ("station", Status.FAIL),
        ("load", Status.FAIL),
        ("time", Status.NO_ANSWER),
    ],
)
def test_a_kexec_passes_only_if_nothing_else_fails_it(
    here: Path, bad_handover: Outcome, broken: str, status: Status
) -> None:
    (here / "relokit.toml").write_text(suppress("handoff.x1", "f"))
    project = read_project(here / "relokit.toml", frozenset(), lambda: ["handoff.x1"])
    judging = Judging(FindingPolicy(project, None), None, "kexec", sizes=False)
    live = live_outcome(
        status=Status.NO_ANSWER if broken == "time" else Status.FAIL,
        stations=(Station(StationName.BANNER, broken != "station", None, "why"),),
        load=LoadWindow(1, {}, 1, (ChangedPages("list", 1, 0),) if broken == "load" else ()),
        handover=bad_handover,
    )
    judged = judging.live(live)
    assert judged.status is status
    assert judged.handover is not None
    assert judged.handover.accepted == TEXT
    assert TEXT in kexec_results("kexec", judged).notes
    assert kexec_summary(judged).replace("\n", " ").count(TEXT) == 2
    assert judging.live(replace(live, handover=None)) == replace(live, handover=None)


def test_differences_are_accepted_by_kind_and_routine(cli: Cli, here: Path) -> None:
    command = ("diff", "left.S", "right.S")
    (here / "relokit.toml").write_text(suppress("diff.arithmetic", "go"))
    for form in ("unified", "side", "html", *FORMS):
        told = cli(*command, "--format", form)
        assert (told.code, TEXT in html.unescape(told.out)) == (0, True), form
    document = cli(*command, "--json").document
    assert (document["same"], document["verdict"], document["accepted"]) == (
        False,
        "different",
        TEXT,
    )
    # Another kind beside it in one hunk is not.
    (here / "right.S").write_text(LEFT.replace("#1", "#2").replace("isb", "dsb\tsy"))
    assert cli(*command).code == 1
    (here / "relokit.toml").write_text(suppress("diff.arithmetic", "other"))
    unused = cli(*command)
    assert unused.code == 1
    assert unused.err == (
        "relokit.toml:1: [[suppress]] of diff.arithmetic at other accepted nothing here\n"
    )
    # What other commands find is not said to be unused here.
    (here / "relokit.toml").write_text(suppress("handoff.x1"))
    assert cli(*command).err == ""


def test_so_many_differences_are_allowed(cli: Cli, here: Path) -> None:
    command = ("diff", "left.S", "right.S")
    for most, code, said in (
        (1, 0, "1 known finding accepted (relokit.toml allows 1 changed)"),
        (0, 1, "1 changed, and relokit.toml allows 0"),
    ):
        (here / "relokit.toml").write_text(f"[thresholds]\nchanged = {most}\n")
        told = cli(*command)
        assert (told.code, said in told.out) == (code, True)
    (here / "relokit.toml").write_text('[severities]\n"diff.arithmetic" = "note"\n')
    assert cli(*command).code == 0


def test_a_run_that_differs_is_not_among_the_differences_that_are_allowed(
    cli: Cli, here: Path
) -> None:
    """The threshold counts instructions; what they did was accepted with them."""
    command = ("diff", "left.S", "right.S", "--run")
    (here / "relokit.toml").write_text("[thresholds]\nchanged = 9\n")
    told = cli(*command, "--format", "ktap")
    assert told.code == 1
    assert re.findall(r"^not ok .*", told.out, re.M) == [
        "not ok 1 - go # TODO 1 known finding accepted (relokit.toml allows 9 changed)",
        "not ok 2 - run",
    ]
    (here / "relokit.toml").write_text(suppress("diff.run") + "[thresholds]\nchanged = 9\n")
    assert cli(*command).code == 0


def test_what_is_accepted_by_name_is_not_said_to_be_too_much(cli: Cli, here: Path) -> None:
    """A diff that ended with 0 said that there was more than is allowed."""
    (here / "relokit.toml").write_text(suppress("diff.arithmetic") + "[thresholds]\nchanged = 0\n")
    told = cli("diff", "left.S", "right.S")
    assert (told.code, TEXT in told.out, "allows 0" in told.out) == (0, True, False)


def test_what_has_no_answer_is_not_in_a_baseline(here: Path, bad_handover: Outcome) -> None:
    """What was found by then was known from then on, and a run that failed by it passed."""
    policy = FindingPolicy(None, None)
    unanswered = replace(bad_handover, status=Status.NO_ANSWER)
    assert policy.outcome("a", unanswered, 4).status is Status.NO_ANSWER
    assert policy.outcome("b", bad_handover, 4).status is Status.FAIL
    assert [*policy.seen] == ["b"]


def test_a_target_that_was_not_tried_is_no_answer_whatever_is_accepted(here: Path) -> None:
    """All survivors accepted, it passed."""
    (here / "relokit.toml").write_text("[thresholds]\nsurvivors = 1\n")
    read = read_project(Path("relokit.toml"), frozenset(), list)
    judging = Judging(FindingPolicy(read, None), None, "mutate", sizes=False)
    survivor = Left("t", "f+0x4:drop", "drop", "f+0x4", "dropped")
    targets = (TargetTried("t"), TargetTried("u", why_not="no such template"))
    row = MutantRow(9, 9, 1, 0, 0, 0, 0)
    report = MutationReport("fail", targets, row, {}, {}, {}, {}, {}, (survivor,), ())
    finding = Finding("mutant.drop", "no rule finds: dropped", place="f+0x4")
    cases = (
        ResultCase("u", "u", CaseEnd.NO_ANSWER, "not tried: no such template"),
        ResultCase("t", survivor.id, CaseEnd.FAILED, finding.message, (finding,)),
    )
    assert judging.mutants(ResultSet("mutate", cases), report)[1].status == "no answer"


@pytest.mark.parametrize(
    ("project", "accepted"),
    [
        (suppress("mutant.drop", "f+0x4"), TEXT),
        (
            "[thresholds]\nsurvivors = 1\n",
            "1 known finding accepted (relokit.toml allows 1 survivors)",
        ),
        (suppress("mutant.drop", "g"), None),
        ("[thresholds]\nsurvivors = 0\n", "1 survivors, and relokit.toml allows 0"),
    ],
)
def test_survivors_are_accepted_and_counted(here: Path, project: str, accepted: str | None) -> None:
    (here / "relokit.toml").write_text(project)
    read = read_project(Path("relokit.toml"), frozenset(), lambda: ["mutant.drop"])
    judging = Judging(FindingPolicy(read, None), None, "mutate", sizes=False)
    row = MutantRow(9, 9, 1, 0, 0, 0, 0)
    survivor = Left("t", "f+0x4:drop", "drop", "f+0x4", "dropped")
    report = MutationReport("fail", (), row, {}, {}, {}, {}, {}, (survivor,), ())
    finding = Finding("mutant.drop", "no rule finds: dropped", place="f+0x4")
    cases = ResultCase("t", survivor.id, CaseEnd.FAILED, finding.message, (finding,))
    results, judged = judging.mutants(ResultSet("mutate", (cases,)), report)
    passes = accepted is not None and "accepted" in accepted
    assert (judged.status, judged.accepted) == ("pass" if passes else "fail", accepted)
    assert results.cases[0].end is (CaseEnd.KNOWN if passes else CaseEnd.FAILED)
    # What survived is counted as ever.
    assert judged.all == row
    verdict = text_of(judged).splitlines()[-1]
    assert verdict.startswith(
        f"{'PASS' if passes else 'FAIL'}{f', {accepted}' if accepted else ''}  "
    )
    assert "10 mutants: 9 killed" in verdict
    page = mutants_report(judged, HowMade("relokit mutate", (), ()))
    assert page.kind == ("open" if passes else "bad")
    assert (accepted or "FAIL") in page.verdict


@pytest.mark.parametrize(
    ("text", "said", "meant"),
    [
        ("[options]\n\ncode-frm = ['a']\n", ":3: [options] has no 'code-frm'", "'code-from'"),
        ("[matrix]\nseris = '15'\n", ":2: [matrix] has no 'seris'", "'series'"),
        ("[run]\nels = 'vhe'\n", ":2: [run] has no 'els'", "'el'"),
        ("[tresholds]\n", ":1: there is no table [tresholds]", "'thresholds'"),
        ("[thresholds]\ninstruction = 3\n", ":2: thresholds has no", "'instructions'"),
        (
            '[severities]\n"handof.x1" = "note"\n',
            ":2: there is no rule",
            "'handoff.x1'",
        ),
        (
            suppress("handoff.x1") + suppress("diff.barier"),
            ":6: there is no rule",
            "'diff.barrier'",
        ),
        (suppress("handoff.x1") + "\nuntill = 1\n", ":6: suppress has no 'untill'", "'until'"),
    ],
)
def test_a_key_that_is_misspelt_is_told_with_its_line_and_what_was_meant(
    cli: Cli, here: Path, text: str, said: str, meant: str
) -> None:
    """Whatever command reads it, also one that would not look at that table."""
    (here / "relokit.toml").write_text(text)
    for command in (("run",), ("series", "1")):
        told = cli(*command)
        assert told.code == 2
        assert f"relokit.toml{said}" in told.err
        assert f"did you mean {meant}?" in told.err


def test_lines_of_toml_are_found_where_they_are_lines() -> None:
    text = 'a = 1\n[t]\n"k.l" = 2\n # b = 3\n[[s]]\nx=1\n[[s]]\ny = 2\n'
    for table, key, number, line in (
        ("", "a", 0, 1), ("t", None, 0, 2), ("t", "k.l", 0, 3), ("s", "x", 0, 6),
        ("s", "y", 1, 8), ("s", None, 1, 7), ("t", "b", 0, None), ("u", None, 0, None),
    ):  # fmt: skip
        assert line_of(text, table, key, number) == line
