"""What becomes of a machine on which a rule is broken, and what right code looks like.

A rule may say so itself. Those that do not have their texts in tables, which are loaded when
something is told.
"""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Advice:
    """See Rule."""

    consequence: str | None
    hint: str | None


def advice_on(rule: Rule) -> Advice:
    """What is to be said of ``rule``."""
    if rule.consequence is not None and rule.hint is not None:
        return Advice(rule.consequence, rule.hint)
    from relokit.runtime.judge.advice_caches import ON_CACHES
    from relokit.runtime.judge.advice_context import ON_CONTEXT
    from relokit.runtime.judge.advice_moves import ON_MOVES

    for table in (ON_CACHES, ON_CONTEXT, ON_MOVES):
        if rule.name in table:
            consequence, hint = table[rule.name]
            return Advice(rule.consequence or consequence, rule.hint or hint)
    return Advice(rule.consequence, rule.hint)
