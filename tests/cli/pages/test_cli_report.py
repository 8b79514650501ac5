"""``--report``: one page that says what came of a run, the same each time, whatever is in it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import relokit
from relokit.cli.pages import whole_behind
from relokit.cli.pages import whole_report as whole_report_module
from relokit.cli.pages.report_page import report_page
from relokit.cli.pages.whole_report import whole_report
from relokit.cli.terminal.whole_lists import csv_text, markdown_text
from relokit.diffing.kernels.whole import WholeDiff
from relokit.diffing.kernels.whole_limits import not_compared
from relokit.reporting.pictures import memory_drawing
from relokit.reporting.report_facts import ReportFacts
from relokit.reporting.report_parts import ReportTable
from relokit.reporting.run_report import HowMade, findings_section, run_report
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.show.shown.memory_shown import MemoryShown, RamBank, RamPiece

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]
HOSTILE = "</script><script>alert(1)</script>\"'<img src=x onerror=alert(2)>\u202e\x1b[31m\ud800"


class Elements(HTMLParser):
    """Names of elements, with their attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_a_failing_run_has_it_all(cli: Cli, edited: Edit, tmp_path: Path) -> None:
    templates = edited("relocate_kernel.S.j2", 'dcache_by_line("civac"', 'dcache_by_line("ivac"')
    page = tmp_path / "report.html"
    result = cli("run", "--templates", templates, "--el", "el1", "--report", page)
    assert result.code == 1
    assert "trace" not in result.out
    text = Elements(page.read_text("utf-8")).text
    for part in (
        "FAIL", "caches.discard", "dc ivac, x10", "What was judged", "Not applicable, and why",
        "Who owns RAM", "From the jump to the kernel", "MMU off at EL1", "Page tables",
        "Predicted times of the move", "neoverse", "unicorn",
        f"relokit run --templates {templates}",
    ):  # fmt: skip
        assert part.lower() in text.lower(), part
    assert "--report" not in text


def test_the_same_command_has_the_same_bytes(cli: Cli, tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        assert cli("run", "--path", "in-place", "--report", tmp_path / name).code == 0
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_files_are_told_by_their_digests(cli: Cli, tmp_path: Path) -> None:
    code, page = tmp_path / "code.elf", tmp_path / "report.html"
    assert cli("export", "-o", code).code == 0
    assert cli("run", "--code-from", code, "--report", page).code == 0
    text = Elements(page.read_text("utf-8")).text
    assert "code.elf" in text
    assert len(re.findall(r"\b[0-9a-f]{64}\b", text)) >= 2


def test_a_plain_run_says_what_is_not_there(cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert cli("run", "--plain", "--report", page).code == 0
    text = Elements(page.read_text("utf-8")).text
    assert "nothing was recorded: a plain run" in text
    assert "Not judged, and why" in text


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--path", "hibernate"),
        ("run", "--boot", "0.01"),
        ("run", "--path", "crash", "--effects"),
        ("run", "--path", "purgatory", "--page-size", "64k"),
    ],
)
def test_every_way_has_a_report(words: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert cli(*words, "--report", page).code in (0, 1)
    assert "relokit run: series:15" in page.read_text("utf-8")


def test_a_trace_is_kept_beside_it_if_asked_for(cli: Cli, tmp_path: Path) -> None:
    page, trace = tmp_path / "report.html", tmp_path / "trace"
    result = cli("run", "--report", page, "--trace", trace)
    assert result.code == 0
    assert "  trace" in result.out
    assert cli("judge", trace).code == 0


def test_nothing_is_written_over_or_left(cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("old")
    over = cli("run", "--dtb", page, "--report", page)
    same = cli("run", "--report", page, "--trace", page)
    failed = cli("run", "--kernel", tmp_path / "nobody", "--report", page)
    nowhere = cli("run", "--report", tmp_path / "no" / "report.html")
    assert [one.code for one in (over, same, failed, nowhere)] == [2, 2, 2, 2]
    assert "would be written over" in over.err
    assert "is that file" in same.err
    assert page.read_text() == "old"
    assert list(tmp_path.iterdir()) == [page]


def test_hostile_text_is_text() -> None:
    outcome = relokit.run(job=relokit.Job(size=4096))
    finding = Finding(
        HOSTILE, HOSTILE, place=HOSTILE, listing=(HOSTILE, "x" * 100_000), notes=(HOSTILE,),
        cause=HOSTILE,
    )  # fmt: skip
    outcome = replace(outcome, findings=(finding,) * 3, console=HOSTILE * 10, ended=HOSTILE)
    memory = MemoryShown(
        HOSTILE, "start", 4096, (RamBank(0, 1 << 20),), (RamPiece(0, 1 << 20, HOSTILE, "list"),), ()
    )
    how = HowMade(HOSTILE, (), ((HOSTILE, HOSTILE),))
    page = report_page(run_report(HOSTILE, outcome, ReportFacts(memory=memory), how))
    elements = Elements(page)
    scripts = [attributes for name, attributes in elements.found if name == "script"]
    assert scripts == [{}]
    assert not [name for name, _ in elements.found if name == "img"]
    assert page.encode("utf-8")
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert len(page) < 500_000
    for name, attributes in elements.found:
        assert not {"src", "style", "onerror", "onclick"} & attributes.keys(), name
        for value in ("href", "xlink:href"):
            assert (attributes.get(value) or "#").startswith("#")


def test_what_is_large_is_bounded() -> None:
    pieces = tuple(RamPiece(4096 * n, 4096, f"owner {n}", f"kind{n}") for n in range(5000))
    memory = MemoryShown("t", "start", 4096, (RamBank(0, 1 << 30),), pieces, ())
    drawn = memory_drawing(memory)
    assert "and 4,600 more" in drawn.svg()
    assert len(drawn.svg()) < 300_000
    many = tuple(Finding(f"rule.{n}", "m") for n in range(100))
    assert len(findings_section(many).parts) == 100
    table = ReportTable("c", ("a",), tuple((str(n),) for n in range(6000)))
    outcome = relokit.run(job=relokit.Job(size=4096, plain=True))
    report = run_report("t", outcome, ReportFacts(), HowMade("", (), ()))
    section = replace(report.sections[0], parts=(table,))
    assert "1,000 more rows are left out" in report_page(replace(report, sections=(section,)))


def test_a_matrix_has_a_report(cli: Cli, edited: Edit, tmp_path: Path) -> None:
    templates = edited("relocate_kernel.S.j2", "\tmov\tx2, xzr\n", "\tmov\tx2, #9\n")
    cells = (
        "--series", "15", "--page-size", "4k", "--va-bits", "48", "--path", "normal",
        "--payload", "shuffled", "--jobs", "1",
    )  # fmt: skip
    pages = []
    for name in ("a.html", "b.html"):
        page = tmp_path / name
        assert cli("matrix", *cells, "--templates", templates, "--report", page).code == 1
        pages.append(page.read_bytes())
    assert pages[0] == pages[1]
    text = Elements(pages[0].decode()).text
    for part in (
        "3 of 3 cells", "relocate_kernel.S.j2", "series15/4k/va48/el1/normal/shuffled",
        "At a glance",
        "regime vhe", "Whose code",
    ):  # fmt: skip
        assert part in text, part
    listed = cli("matrix", "--list", "--report", tmp_path / "c.html")
    assert listed.code == 2


def test_a_campaign_has_a_report(cli: Cli, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    mutants = ("--routine", "relocation", "--operator", "flags", "--el", "el1", "--jobs", "1")
    assert cli("mutate", *mutants, "--report", page).code in (0, 1)
    text = Elements(page.read_text("utf-8")).text
    for part in ("relokit mutate", "By routine and operator", "flags", "Which rule was the first"):
        assert part in text, part


@pytest.fixture(name="two_files")
def _two_files(cli: Cli, tmp_path: Path) -> tuple[str, str]:
    """Linked programs of two states of the series."""
    paths = []
    for state in (11, 12):
        paths.append(str(tmp_path / f"{state}.elf"))
        assert cli("export", "-o", paths[-1], "--series", str(state)).code == 0
    return paths[0], paths[1]


def test_all_functions_as_a_page(cli: Cli, two_files: tuple[str, str], tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        page = tmp_path / name
        assert cli("diff", *two_files, "--all", "--format", "html", "-o", page).code == 1
        pages.append(page.read_bytes())
    assert pages[0] == pages[1]
    elements = Elements(pages[0].decode())
    document = cli("diff", *two_files, "--all", "--json").document
    assert {one["name"] for one in document["functions"]} <= set(elements.text.split())
    assert "@@" in elements.text
    assert f"{document['changed']} FUNCTIONS DIFFER" in elements.text
    assert elements.text.count("in detail") > 1
    one = cli("diff", *two_files, "--all", "--format", "html", "--top", "1").out
    assert one.count('<details id="behind-') == document["changed"]
    assert [one.count(f", {how}</summary>") for how in ("in detail", "by words")] == [
        1, document["changed"] - 1,
    ]  # fmt: skip


def test_what_a_page_has_no_room_for_is_told(
    cli: Cli, two_files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_behind, "MAX_DETAILED", 2)
    page = ("diff", *two_files, "--all", "--format", "html", "--top", "1")
    text = cli(*page).out
    assert "more lines: relokit diff" in text
    assert "lines of differences; each text ends with the command" in text
    monkeypatch.setattr(whole_behind, "MAX_FUNCTIONS", 1)
    monkeypatch.setattr(whole_report_module, "MAX_FUNCTIONS", 1)
    text = cli(*page).out
    assert text.count('<details id="behind-') == 1
    assert "--format csv lists all" in text
    assert "more rows are left out of this page" in text
    monkeypatch.setattr(whole_behind, "MAX_FUNCTIONS", 20_000)
    monkeypatch.setattr(whole_behind, "MAX_TEXT", 0)
    text = cli(*page).out
    assert text.count('<details id="behind-') > 1
    assert "more lines: relokit diff" in text


def test_all_functions_as_lists(cli: Cli, two_files: tuple[str, str]) -> None:
    document = cli("diff", *two_files, "--all", "--json").document
    names = [one["name"] for one in document["functions"]]
    listed = list(csv.DictReader(StringIO(cli("diff", *two_files, "--all", "--format", "csv").out)))
    assert [one["function"] for one in listed] == names
    assert [int(one["inserted"].strip("~")) for one in listed] == [
        one["inserted"] for one in document["functions"]
    ]
    table = cli("diff", *two_files, "--all", "--format", "markdown", "--top", "2").out
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == names[:2]
    barriers = cli("diff", *two_files, "--all", "--format", "csv", "--only", "barrier").out
    assert 0 < barriers.count("\n") < len(names) + 1
    assert cli("diff", *two_files, "--format", "csv").code == 2
    assert cli("diff", *two_files, "--all", "--top", "1").code == 2


def test_names_of_functions_are_no_formulas_and_end_no_cell() -> None:
    rows = [("=cmd|' /C calc'!A0", "1"), ("a`b|c\x1b\nd", "2"), ('q"u,o', "3")]
    text = csv_text(("function", "n"), rows)
    assert [row[0] for row in csv.reader(StringIO(text))][1].startswith("'=")
    assert "\x1b" not in text
    table = markdown_text(("function", "n"), rows)
    assert len(table.splitlines()) == 5
    assert "a'b\\|c" in table


def test_two_kernels_are_the_same_as_far_as_they_were_compared() -> None:
    limited = WholeDiff("a", "b", (), ("f",), data=3, data_not_compared=2)
    for found, verdict in (
        (limited, "THE SAME, AS FAR AS COMPARED"),
        (replace(limited, data_not_compared=0), "THE SAME"),
    ):
        report = whole_report(found, (), "relokit diff --all a b")
        assert report.verdict == verdict
        told = [text for name, text in report.facts if name == "not compared"]
        assert told == [*not_compared(found)]
        assert len(told) == (verdict != "THE SAME")
    assert "\n\ndata not compared: 2" in markdown_text(("function",), [], not_compared(limited))
