"""The HTML page of a diff in a real browser: Chromium, headless, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import relokit.templates
from relokit.cli.main import main
from relokit.cli.pages.page import Behaviour, Facts, diff_page
from relokit.cli.pages.series_page import series_page
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.diffing.read.sides import read_sides
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Diff, PatchStep
from support.browser import Browser

ROUTINE = "arm64_relocate_new_kernel"
TEMPLATES = Path(relokit.templates.__path__[0])
RELOCATE = "relocate_kernel.S.j2"


@pytest.fixture(scope="module")
def diff() -> Diff:
    encoder = Encoder()
    try:
        return compare(*read_sides("series:11", "series:12", lambda: encoder))
    finally:
        encoder.close()


@pytest.fixture(scope="module")
def module_browser(diff: Diff, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
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
    pages = {name: directory / f"{name}.html" for name in texts}
    for name, text in texts.items():
        pages[name].write_text(text, "utf-8")
    browser = Browser(directory / "profile", pages)
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(module_browser: Browser) -> Iterator[Browser]:
    """The module's browser; afterwards its console must be empty."""
    module_browser.driver.get_log("browser")
    yield module_browser
    assert module_browser.driver.get_log("browser") == []
