"""One-place faults: each bad one is found at its instruction, no good one is."""

from __future__ import annotations

from typing import Any

import pytest

from support.scenarios import Scenario, judged, scenarios


def each(pattern: str) -> list[Any]:
    return [pytest.param(one, id=one.id) for one in scenarios(pattern)]


@pytest.mark.parametrize("scenario", each("bad_*.toml"))
def test_a_bad_one_is_found_where_it_is(scenario: Scenario) -> None:
    outcome = judged(scenario)
    wanted = scenario.fields
    severity = wanted.get("severity", "error")
    found = [one for one in outcome.findings if one.rule == wanted["rule"]]
    assert {str(one.severity) for one in found} == {severity}, outcome.findings
    assert len(found) == wanted.get("times", 1), outcome.findings
    finding = found[0]
    if "at" in wanted:
        [marked] = [line for line in finding.listing if line.startswith(">")]
        assert marked.split("  ")[1].strip() == wanted["at"], finding
        assert finding.place
    text = "\n".join((finding.message, finding.cause or "", *finding.notes))
    for part in wanted.get("says", ()):
        assert part in text, text
    assert outcome.passed == (not wanted.get("fails", severity == "error"))
    others = {one.rule for one in outcome.findings} - {wanted["rule"], "caches.data"}
    assert others == set(wanted.get("also", ())), outcome.findings


@pytest.mark.parametrize("scenario", each("good_*.toml"))
def test_a_good_one_passes(scenario: Scenario) -> None:
    outcome = judged(scenario)
    assert outcome.passed, outcome.findings
    rules = {one.rule for one in outcome.findings} - {"caches.data"}
    assert sorted(rules) == scenario.fields.get("warns", [])
    assert not outcome.rules.not_judged


@pytest.mark.parametrize("scenario", each("bad_*.toml"))
def test_a_plain_run_cannot_tell(scenario: Scenario) -> None:
    """So that nobody takes these for what a comparison of bytes finds."""
    if scenario.fields.get("shows"):
        return
    outcome = judged(scenario, plain=True)
    assert outcome.passed
    rule = scenario.fields["rule"]
    # Of a book that nothing of could be judged it has the name of the book.
    assert {rule, rule.split(".")[0]} & set(outcome.rules.not_judged)


def test_every_scenario_has_a_name_of_its_own() -> None:
    names = [one.id for one in scenarios("*.toml")]
    assert len(set(names)) == len(names)
