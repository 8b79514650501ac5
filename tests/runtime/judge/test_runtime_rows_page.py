"""docs/rows.md has every row, and rules that there are, as severe as the row is."""

from __future__ import annotations

import re
from pathlib import Path

from relokit.runtime.judge.book import whole_book
from relokit.runtime.judge.rules.severity import Severity

PAGE = Path(__file__).parents[3] / "docs" / "rows.md"
LAST = {"T": 31, "B": 15, "X": 14, "E": 11, "H": 43, "K": 12}
ROWS = [f"{letter}{number}" for letter, last in LAST.items() for number in range(1, last + 1)]
ABOUT = ("tlb", "bbm", "context", "errata", "interrupt", "call", "stack")
"""Books that no other page goes through."""


def rows() -> dict[str, tuple[str, str]]:
    """How severe each row is, and what becomes of it here."""
    row = r"^\| ([TBXEHK]\d+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$"
    found = re.findall(row, PAGE.read_text(), re.MULTILINE)
    named = {number: (severity, here) for number, severity, here in found}
    assert len(named) == len(found)
    return named


def rules_in(text: str) -> set[str]:
    found = re.findall(r"`([a-z]+\.[a-z0-9-]+)`", text)
    return {name for name in found if not name.endswith(".py")}


def test_every_row_is_there_once_and_in_order() -> None:
    assert list(rows()) == ROWS


def test_each_has_rules_as_severe_as_it_is_or_a_reason() -> None:
    severities = {rule.name: rule.severity for rule in whole_book()}
    for number, (severity, here) in rows().items():
        rules = rules_in(here)
        assert rules <= set(severities), number
        reason = re.search("model|[Nn]ot visible|not told", here)
        match severity:
            case "E":
                worst = {severities[name] for name in rules}
                assert Severity.ERROR in worst or "not visible" in here, number
            case "W":
                assert rules, number
            case _:
                assert rules or reason, number


def test_no_rule_of_these_books_is_of_no_row() -> None:
    cited = {name for _, here in rows().values() for name in rules_in(here)}
    assert {rule.name for rule in whole_book() if rule.name.split(".")[0] in ABOUT} - cited == {
        # Besides the rows: call.resumes is of regressions.md, 29; attributes of caches.md, C24.
        "call.resumes", "tlb.attributes",
    }  # fmt: skip
