"""docs/caches.md has every row, and names rules that there are."""

from __future__ import annotations

import re
from pathlib import Path

from relokit.runtime.judge.book import whole_book

PAGE = Path(__file__).parents[3] / "docs" / "caches.md"
ROWS = [f"C{number}" for number in range(1, 35)] + [f"F{number}" for number in range(1, 17)]


def rows() -> dict[str, str]:
    found = re.findall(r"^\| ([CF]\d+) \| [^|]+ \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(dict(found)) == len(found)
    return dict(found)


def test_every_row_is_there_once() -> None:
    assert list(rows()) == ROWS


def test_each_has_a_rule_or_a_reason() -> None:
    names = {rule.name for rule in whole_book()}
    cited = set()
    for number, here in rows().items():
        rules = re.findall(r"`((?:caches|fetch|exception)\.[a-z-]+)`", here)
        assert set(rules) <= names, number
        assert rules or re.search("[Mm]odel|not visible: |not told: |allowed", here), number
        cited.update(rules)
    # And no rule of these books that no row asks for.
    assert {name for name in names if name.split(".")[0] in ("caches", "fetch")} <= cited
