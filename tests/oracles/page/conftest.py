"""The HTML page of a diff in a real browser: Chromium, headless, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import relokit.templates
from relokit.cli.main import main
from relokit.cli.pages.page import Behaviour, Facts, diff_page
from relokit.cli.pages.report_page import report_page
from relokit.cli.pages.series_page import series_page
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.diffing.read.sides import read_sides
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Diff, PatchStep
from relokit.facade import run
from relokit.reporting.kexec_report import kexec_report
from relokit.reporting.report_facts import ReportFacts
from relokit.reporting.run_report import HowMade
from relokit.runtime.kexec.job import Job
from support.browser import Browser
from support.live_outcomes import silent

ROUTINE = "arm64_relocate_new_kernel"
TEMPLATES = Path(relokit.templates.__path__[0])
RELOCATE = "relocate_kernel.S.j2"


@pytest.fixture(scope="session")
def diff() -> Diff:
    encoder = Encoder()
    try:
        return compare(*read_sides("series:11", "series:12", lambda: encoder))
    finally:
        encoder.close()


@pytest.fixture(scope="session")
def one_browser(diff: Diff, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    directory = tmp_path_factory.mktemp("page")
    same = compare(diff.left, diff.left)
    facts = Facts("Counts", ("what", "left", "right"), (("dsb sy", "67", "1"),))
    texts = {
        "diff": diff_page(diff, behaviour=Behaviour("fewer barriers", (), (facts,))),
        "same": diff_page(same),
        "series": series_page(
            [
                PatchStep(1, "add helper", "no byte changes", same),
                PatchStep(12, "keep MMU enabled", "virtual addresses", diff),
            ]
        ),
    }
    templates = directory / "templates"
    templates.mkdir()
    wrong = (TEMPLATES / RELOCATE).read_text().replace('by_line("civac"', 'by_line("ivac"')
    (templates / RELOCATE).write_text(wrong)
    report = directory / "report"
    assert main(["run", "--templates", str(templates), "--report", str(report)]) == 1
    texts["report"] = report.read_text("utf-8")
    texts |= dict(_more_pages(directory, templates))
    pages = {name: directory / f"{name}.html" for name in texts}
    for name, text in texts.items():
        pages[name].write_text(text, "utf-8")
    browser = Browser(directory / "profile", pages)
    yield browser
    browser.driver.quit()


def _more_pages(directory: Path, templates: Path) -> Iterator[tuple[str, str]]:
    """Reports of other commands, by what they are called here, and what ``show`` draws."""
    output = directory / "output"
    sides = []
    for state in ("11", "12"):
        sides.append(str(directory / f"{state}.elf"))
        assert main(["export", "-o", sides[-1], "--series", state]) == 0
    functions = ["diff", *sides, "--all", "--ignore", "hints", "--format", "html", "-o"]
    cell = "series15/4k/va48/vhe/normal/shuffled"
    mutants = ["--routine", "soft-restart", "--operator", "condition", "--jobs", "1"]
    for name, words, code in (
        ("functions", functions, 1),
        ("matrix", ["matrix", "--cell", cell, "--templates", str(templates), "--report"], 1),
        ("mutate", ["mutate", *mutants, "--report"], 0),
    ):
        assert main([*words, str(output)]) == code
        yield name, output.read_text("utf-8")
    kexec = silent(run(job=Job(size=4096)))
    yield "kexec", report_page(kexec_report(kexec, ReportFacts(), HowMade("kexec", (), ())))
    for what in ("memory", "tables", "timeline"):
        assert main(["show", what, "--svg", str(output), "--size", "64k"]) == 0
        # As a page has it: what it draws has to fit in its own box.
        yield what, f"<!doctype html><title>{what}</title>{output.read_text('utf-8')}"


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """The one browser; afterwards its console must be empty."""
    one_browser.driver.get_log("browser")
    yield one_browser
    assert one_browser.driver.get_log("browser") == []
