"""Every rule says what becomes of a machine, and what right code looks like."""

from __future__ import annotations

import pytest

from relokit.runtime.judge.advice import advice_on
from relokit.runtime.judge.advice_caches import ON_CACHES
from relokit.runtime.judge.advice_context import ON_CONTEXT
from relokit.runtime.judge.advice_moves import ON_MOVES
from relokit.runtime.judge.book import judge, whole_book
from support.twins import TWINS, rule_named


@pytest.mark.parametrize("rule", whole_book(), ids=lambda rule: rule.name)
def test_every_rule_has_advice(rule: object) -> None:
    advice = advice_on(rule)  # type: ignore[arg-type]
    assert advice.consequence
    assert advice.hint


def test_advice_is_on_rules_that_there_are_and_that_say_nothing_themselves() -> None:
    silent = {rule.name for rule in whole_book() if not (rule.consequence and rule.hint)}
    tables = [*ON_CACHES, *ON_CONTEXT, *ON_MOVES]
    assert len(tables) == len(set(tables))
    assert set(tables) == silent


@pytest.mark.parametrize("name", ["caches.discard", "handoff.x1", "memory.segment"])
def test_a_finding_has_the_advice_on_its_rule(name: str) -> None:
    [finding] = judge(TWINS[name].bad, (rule_named(name),)).findings
    advice = advice_on(rule_named(name))
    assert (finding.consequence, finding.hint) == (advice.consequence, advice.hint)
