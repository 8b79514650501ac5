"""docs/tutorial.md is what its commands and its Python print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.tutorial_page import PAGE, carried_out


def test_the_page_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    text = PAGE.read_text("utf-8")
    assert text == carried_out(text), "cd tests && ../.venv/bin/python -m support.tutorial_page"


def test_a_line_that_is_dropped_is_a_finding_and_the_whole_page_none() -> None:
    """What the page is for: the verdicts on it are these, whatever else is printed."""
    text = PAGE.read_text("utf-8")
    for file, rule in (
        ("early.S", "exception.instruction-abort"), ("unclean.S", "caches.image"),
        ("lost.S", "caches.discard"), ("stale.S", "fetch.image"), ("clash.S", "bbm.switch"),
        ("tables.S", "exception.data-abort"),
    ):  # fmt: skip
        told = rf"--code-from {file}.*\n    {re.escape(rule)}  .*\n(?:    .*\n)*    FAIL"
        assert re.search(told, text)
    assert re.search(r"--code-from move\.S [^\n]*\n(?:    .*\n)*    PASS\n", text)
