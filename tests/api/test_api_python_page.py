"""docs/python.md: its examples do what they say, and every public name is on it."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import relokit
from support.python_page import GROUPS, PAGE, page


def test_its_examples_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted > 15
    assert not found.failed


def test_every_public_name_is_told_once() -> None:
    told = [name for names in GROUPS.values() for name in names.split()]
    assert sorted(told) == sorted(relokit.__all__)


def test_the_reference_is_what_the_code_says() -> None:
    text = PAGE.read_text("utf-8")
    assert text == page(text), "make docs/python.md"
    assert "object at 0x" not in text
