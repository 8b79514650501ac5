"""Results for CI against the schemas of those who read them, whatever is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from relokit.cli.results.ktap import diagnostic, ktap_case
from relokit.cli.results.result_cases import BAD, CaseEnd, ResultCase, ResultSet, source_place
from relokit.cli.results.written import text_of_results
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.severity import Severity

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]

SCHEMAS = Path(__file__).resolve().parents[2] / "support" / "schemas"
JUNIT = etree.XMLSchema(etree.parse(SCHEMAS / "junit-10.xsd"))
_SARIF = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text())
SARIF = jsonschema.Draft4Validator(_SARIF)
X1_NOT_ZERO = ("relocate_kernel.S.j2", "\tmov\tx1, xzr\n", "\tmov\tx1, #1\n")
X1_LINE = 131

words = st.text(max_size=8)
places = st.none() | words | st.sampled_from(["f+0x8 (a.S:3)", "a.S.j2:9", "b (c d:1)", "(:0)"])
findings = st.builds(
    Finding,
    rule=words,
    message=words,
    address=st.none() | st.integers(0, (1 << 64) - 1),
    place=places,
    listing=st.lists(words, max_size=2).map(tuple),
    notes=st.lists(words, max_size=2).map(tuple),
    hint=st.none() | words,
    consequence=st.none() | words,
    severity=st.sampled_from(Severity),
)
cases = st.builds(
    ResultCase,
    group=words,
    name=words,
    end=st.sampled_from(CaseEnd),
    why=st.none() | words,
    findings=st.lists(findings, max_size=2).map(tuple),
    reproduce=st.none() | words,
    seconds=st.none() | st.floats(0, 1e4),
)
results = st.builds(
    ResultSet,
    command=words,
    cases=st.lists(cases, max_size=4).map(tuple),
    notes=st.lists(words, max_size=2).map(tuple),
)


def junit_of(text: str) -> Any:
    """The XML document, which is as its schema says."""
    document = etree.fromstring(text.encode("ascii"))
    JUNIT.assertValid(document)
    return document


def sarif_of(text: str) -> Any:
    document = json.loads(text)
    SARIF.validate(document)
    return document


@given(results, st.booleans())
def test_junit_is_valid_whatever_comes(some: ResultSet, timings: bool) -> None:
    document = junit_of(text_of_results(some, "junit", timings=timings))
    ends = [case.end for case in some.cases]
    assert len(document.findall(".//testcase")) == len(ends)
    wrong = document.findall(".//failure") + document.findall(".//error")
    assert len(wrong) == sum(end in BAD for end in ends)
    assert int(document.get("failures")) + int(document.get("errors")) == len(wrong)
    assert timings or not document.findall(".//*[@time]")


@given(results)
def test_sarif_is_valid_whatever_comes(some: ResultSet) -> None:
    (run,) = sarif_of(text_of_results(some, "sarif", timings=False))["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == sorted(set(rules))
    assert all(rules[one["ruleIndex"]] == one["ruleId"] for one in run["results"])
    told = sum(one["occurrenceCount"] for one in run["results"])
    assert told <= sum(len(case.findings) for case in some.cases)
    assert (told == 0) == all(not case.findings for case in some.cases)


def test_what_is_accepted_takes_nothing_along() -> None:
    """A warning beside a finding that is accepted was suppressed with it, by the same words."""
    accepted = Finding("a", "x", severity=Severity.NOTE, accepted="we know")
    warned = Finding("b", "y", severity=Severity.WARNING)
    known = ResultCase("g", "n", CaseEnd.KNOWN, "1 known finding accepted", (accepted, warned))
    some = ResultSet("c", (known,))
    (run,) = sarif_of(text_of_results(some, "sarif", timings=False))["runs"]
    assert [one.get("suppressions") for one in run["results"]] == [
        [{"kind": "external", "justification": "we know"}],
        None,
    ]
    assert "::warning title=b::y" in text_of_results(some, "github", timings=False).split("\n")


def test_a_message_has_the_lines_of_its_finding() -> None:
    """They were one, with marks between them: what does not print is no end of ours."""
    found = Finding("a", "x\ny", place="f+0x4", listing=("  nop",), hint="z", source="s")
    case = ResultCase("g", "n", CaseEnd.FAILED, findings=(found,))
    (run,) = sarif_of(text_of_results(ResultSet("c", (case,)), "sarif", timings=False))["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["help"]["text"] == "z\ns"
    message = run["results"][0]["message"]["text"].split("\n")
    assert message[:2] == ["a (error): x\ufffdy", "  at f+0x4"]
    assert len(message) == 5


@given(results)
def test_every_line_for_github_is_a_command_but_the_last(some: ResultSet) -> None:
    *lines, last = text_of_results(some, "github", timings=False).split("\n")
    for line in lines:
        # As the runner reads it: properties end at the first ::, and are told apart by commas.
        found = re.fullmatch(r"::(error|warning|notice)( [^:]*)?::(.*)", line)
        assert found, line
        for one in (found[2] or "").strip(" ").split(",") if found[2] else ():
            assert re.match(r"(title|file|line)=", one), line
    assert last.startswith("results of ")


@given(results, st.booleans())
def test_ktap_has_a_line_for_each_case(some: ResultSet, timings: bool) -> None:
    text = text_of_results(some, "ktap", timings=timings)
    head, plan, *lines = text.split("\n")
    assert (head, plan) == ("KTAP version 1", f"1..{len(some.cases)}")
    told = [line for line in lines if not line.startswith("#")]
    assert len(told) == len(some.cases)
    for number, (line, case) in enumerate(zip(told, some.cases, strict=True), start=1):
        found = re.fullmatch(r"(ok|not ok) ([0-9]+) - ([^#]*?)(?: # ([A-Z]+) (.*))?", line)
        assert found, line
        assert int(found[2]) == number
        assert (found[1] == "ok") == (case.end in (CaseEnd.PASSED, CaseEnd.SKIPPED))


@pytest.mark.parametrize(
    ("line", "case"),
    [
        ("ok 1 - a/b", ResultCase("", "a/b", CaseEnd.PASSED)),
        ("not ok 1 - x", ResultCase("", "x", CaseEnd.FAILED, "as a finding says")),
        ("ok 1 - a_b", ResultCase("", "a#b", CaseEnd.PASSED)),
        ("ok 1 - a # SKIP two lines", ResultCase("", "a", CaseEnd.SKIPPED, "two\nlines")),
        ("not ok 1 - a # TODO known", ResultCase("", "a", CaseEnd.KNOWN, "known")),
        ("not ok 1 - a # TIMEOUT late", ResultCase("", "a", CaseEnd.NO_ANSWER, "late")),
        ("ok 1 - a \ufffd", ResultCase("", "a\n\x1b", CaseEnd.PASSED)),
    ],
)
def test_ktap_lines_hold_whatever_comes(line: str, case: ResultCase) -> None:
    assert ktap_case(1, case, timings=False) == line


def test_a_diagnostic_is_one_line() -> None:
    assert diagnostic("one\n# Subtest: x") == "# one\ufffd# Subtest: x"
    assert diagnostic("") == "#"


@pytest.mark.parametrize(
    ("place", "file", "line"),
    [
        ("arm64_relocate_new_kernel+0x104 (relocate_kernel.S.j2:131)", "relocate_kernel.S.j2", 131),
        ("relocate_kernel.S.j2:7", "relocate_kernel.S.j2", 7),
        ("a/b.S:12", "a/b.S", 12),
        ("arm64_relocate_new_kernel+0x104", None, 0),
        ("PA 0x40000000", None, 0),
        ("a.S:0", None, 0),
        ("a.S:99999999999", None, 0),
        (None, None, 0),
    ],
)
def test_the_line_of_a_place(place: str | None, file: str | None, line: int) -> None:
    found = source_place(Finding("a.b", "c", place=place), ())
    assert (found and (found.file, found.line, found.own)) == (file and (file, line, False))


def test_a_place_in_a_file_of_the_users_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.S").write_text("")
    finding = Finding("a.b", "c", place="f (a.S:3)")
    for sources in ((tmp_path,), (tmp_path / "a.S",)):
        found = source_place(finding, sources)
        assert found is not None
        assert (found.file, found.own) == (str(tmp_path / "a.S"), True)
    other = source_place(replace(finding, place="f (b.S:3)"), (tmp_path,))
    assert other is not None
    assert (other.file, other.own) == ("b.S", False)


def test_a_run_that_passes_in_every_format(cli: Cli) -> None:
    first = {form: cli("run", "--format", form) for form in ("junit", "sarif", "github", "ktap")}
    assert all(one.code == 0 and not one.err for one in first.values())
    document = junit_of(first["junit"].out)
    names = [case.get("name") for case in document.findall(".//testcase")]
    rules = cli("run", "--json").document["rules"]
    assert names == [*rules["applied"], *rules["not_applicable"], *rules["not_judged"]]
    assert document.get("tests") == str(len(names))
    assert len(document.findall(".//skipped")) == len(names) - len(rules["applied"])
    assert sarif_of(first["sarif"].out)["runs"][0]["results"] == []
    assert first["github"].out.startswith("results of relokit run: ")
    assert first["ktap"].out.count("\nok ") == len(names)
    for form, one in first.items():
        assert cli("run", "--format", form).out == one.out


def test_a_run_that_fails_in_every_format(cli: Cli, edited: Edit) -> None:
    mine = edited(*X1_NOT_ZERO)
    arguments = ("run", "--el", "vhe", "--templates", mine, "--format")
    junit, sarif, github, ktap = (
        cli(*arguments, form) for form in ("junit", "sarif", "github", "ktap")
    )
    assert [one.code for one in (junit, sarif, github, ktap)] == [1] * 4
    (failure,) = junit_of(junit.out).findall(".//failure")
    assert failure.getparent().get("name") == failure.get("type") == "handoff.x1"
    assert f"(relocate_kernel.S.j2:{X1_LINE})" in failure.text
    (result,) = sarif_of(sarif.out)["runs"][0]["results"]
    physical = result["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"] == {"uri": str(mine / "relocate_kernel.S.j2")}
    assert physical["region"] == {"startLine": X1_LINE}
    assert result["ruleId"] == "handoff.x1"
    head = f"::error title=handoff.x1,file={mine}/relocate_kernel.S.j2,line={X1_LINE}::x1 = 0x1"
    assert github.out.startswith(head)
    assert re.search(r"^not ok [0-9]+ - handoff\.x1$", ktap.out, re.MULTILINE)


def test_results_go_to_a_file_and_people_see_the_rest(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "results.xml"
    result = cli("run", "--format", "junit", "-o", file)
    assert (result.code, result.out.splitlines()[-1]) == (0, "PASS")
    assert file.read_text() == cli("run", "--format", "junit").out
    nowhere = cli("run", "--format", "ktap", "-o", tmp_path / "none" / "x")
    assert (nowhere.code, "none" in nowhere.err) == (2, True)


def test_a_template_that_does_not_render_is_a_result_at_its_line(cli: Cli, edited: Edit) -> None:
    mine = edited(X1_NOT_ZERO[0], "\tmov\tx1, xzr\n", "\tmov\tx1, {{ foo }}\n")
    result = cli("run", "--templates", mine, "--format", "github")
    assert result.code == 2
    place = f"file={mine}/relocate_kernel.S.j2,line={X1_LINE}"
    assert result.out.startswith(f"::error title=relokit.error,{place}::'foo' is undefined")
    (error,) = junit_of(cli("run", "--templates", mine, "--format", "junit").out).iter("error")
    assert error.get("message") == "'foo' is undefined"
    (run,) = sarif_of(cli("run", "--templates", mine, "--format", "sarif").out)["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False


def test_no_answer_is_an_error_and_no_failure(cli: Cli) -> None:
    result = cli("run", "--size", "64M", "--timeout", "0.001", "--format", "junit")
    document = junit_of(result.out)
    assert (result.code, document.findall(".//failure")) == (3, [])
    assert document.get("errors") == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "junit", "--json"), "--json is a format of its own: leave --format out"),
        (("--output", "x"), "--output is of --format, which is not there"),
        (("--format", "ktap", "--verbose"), "leave --verbose out"),
        (("--format", "tap"), "'tap'"),
    ],
)
def test_options_that_do_not_go_together(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    result = cli("run", *arguments)
    assert (result.code, said in result.err + result.out) == (2, True)
