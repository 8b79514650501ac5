"""The page of rules is what the book says, and names every rule."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from relokit.runtime.judge.book import whole_book
from relokit.runtime.judge.boot_musts import MUSTS
from relokit.runtime.judge.rules_page import OTHERS, page

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_what_the_book_says() -> None:
    text = (ROOT / "docs" / "rules.md").read_text("utf-8")
    assert text == page(), "make docs/rules.md"
    for rule in whole_book():
        assert f"`{rule.name}`" in text
        assert rule.must in text
        assert rule.source in text


_NAME = re.compile(
    r"(handoff|relocation|memory|setup|damage|exception|bus|run|boot|resume|matrix|caches|fetch)\.[a-z][a-z0-9-]+"
)


def test_every_name_that_a_finding_can_have_is_on_the_page() -> None:
    """Every text in the sources that looks like a rule's name is one."""
    known_names = {rule.name for rule in whole_book()} | set(OTHERS)
    for folder in ("api", "runtime", "cli", "diffing"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            names = {
                node.value
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and _NAME.fullmatch(node.value)
            }
            assert names <= known_names, path


def test_every_must_is_judged_by_rules_that_there_are_or_says_why_not() -> None:
    names = {rule.name for rule in whole_book()}
    for must in MUSTS:
        assert must.rules or must.why, must
        assert set(must.rules) <= names, must


def test_every_rule_on_the_hand_over_is_of_some_must() -> None:
    told = {rule for must in MUSTS for rule in must.rules}
    assert {rule.name for rule in whole_book() if rule.name.startswith("handoff.")} <= told
