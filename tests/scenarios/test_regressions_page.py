"""docs/regressions.md names every entry, and scenarios and rules that there are."""

from __future__ import annotations

import re
from pathlib import Path

from relokit.runtime.judge.book import whole_book
from support.scenarios import scenarios

PAGE = Path(__file__).parents[2] / "docs" / "regressions.md"
ENTRIES = range(1, 40)


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_entry_is_there_once() -> None:
    assert [int(row[0]) for row in rows()] == list(ENTRIES)


def test_each_has_scenarios_by_their_rule_or_a_reason() -> None:
    bad = {one.name: one.fields["rule"] for one in scenarios("bad_*.toml")}
    good = {one.name for one in scenarios("good_*.toml")}
    rules = {rule.name for rule in whole_book()}
    for number, _, faults, twins, why in rows():
        cited = [name for name in names(why) if name in rules]
        assert bool(names(faults)) == bool(names(twins)), number
        for name in names(faults):
            assert bad[name] in cited, number
        assert set(names(twins)) <= good, number
        if not names(faults):
            assert re.search(r"not visible|not judged yet|no scenario: |made by hand", why), number
