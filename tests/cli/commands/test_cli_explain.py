"""``relokit explain``: each rule is found by its name, and what is none meets its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relokit.runtime.judge.advice import advice_on
from relokit.runtime.judge.book import whole_book

Cli = Callable[..., Any]
BOOK = whole_book()


def test_all_rules_are_listed_in_the_order_of_the_book(cli: Cli) -> None:
    result = cli("explain")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == [rule.name for rule in BOOK]


@pytest.mark.parametrize("rule", BOOK, ids=lambda rule: rule.name)
def test_a_rule_says_all_it_knows(cli: Cli, rule: Any) -> None:
    result = cli("explain", rule.name)
    assert result.code == 0
    text = " ".join(result.out.split())
    assert text.startswith(f"{rule.name} ({rule.severity})")
    advice = advice_on(rule)
    for part in (rule.must, rule.source, advice.consequence, advice.hint):
        assert part
        assert " ".join(part.split()) in text
    [told] = cli("explain", rule.name, "--json").document["rules"]
    assert (told["rule"], told["must"], told["source"]) == (rule.name, rule.must, rule.source)


def test_a_subject_lists_its_rules(cli: Cli) -> None:
    listed = cli("explain", "fetch").out.splitlines()
    assert len(listed) == sum(rule.name.startswith("fetch.") for rule in BOOK)
    assert all(line.startswith("fetch.") for line in listed)


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("caches.discrad", "caches.discard"),
        ("discard", "caches.discard"),
        ("Handoff.X1", "handoff.x1"),
        ("cachse", "caches"),
    ],
)
def test_what_is_no_rule_meets_its_neighbours(cli: Cli, name: str, offered: str) -> None:
    result = cli("explain", name)
    assert result.code == 2
    assert f"no rule '{name}'" in result.err
    assert offered in result.err.partition("did you mean")[2]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("errata.4311569", "maintenance may be seen late"),
        ("matrix.crash", "came down"),
        ("matrix.error", "no verdict"),
    ],
)
def test_a_name_of_docs_rules_that_no_rule_has_is_explained_all_the_same(
    cli: Cli, name: str, why: str
) -> None:
    result = cli("explain", name)
    assert result.code == 2
    assert f"no rule judges {name}" in result.err
    assert why in result.err


@pytest.mark.parametrize("name", ["", "\x1b[31m", "q" * 10_000, "-"])
def test_what_is_like_nothing_is_told_where_the_list_is(cli: Cli, name: str) -> None:
    result = cli("explain", "--", name)
    assert result.code == 2
    assert "'relokit explain' lists all rules" in result.err
    assert "\x1b" not in result.err


def test_what_spares_a_cpu_and_what_nothing_emulated_has(cli: Cli) -> None:
    assert "does not bite on a CPU with DIC" in " ".join(
        cli("explain", "fetch.in-place").out.split()
    )
    [told] = cli("explain", "fetch.in-place", "--json").document["rules"]
    assert (told["executed"], told["spared_by"]) == (True, ["DIC"])
    assert "records made by hand" in cli("explain", "handoff.gcs").out
    assert cli("explain", "handoff.gcs", "--json").document["rules"][0]["executed"] is False
