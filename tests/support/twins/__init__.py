"""Two records for every rule: one that it holds in, one that it is broken in."""

from __future__ import annotations

from relokit.runtime.judge.book import whole_book
from relokit.runtime.judge.rules.rule import Rule
from support.twins.around import AROUND
from support.twins.attributes import ATTRIBUTES
from support.twins.boot import BOOTS
from support.twins.break_before_make import BREAK_BEFORE_MAKE
from support.twins.caches import CACHES
from support.twins.chosen import CHOSEN
from support.twins.context import CONTEXT
from support.twins.facts import FACTS
from support.twins.fetch import FETCH
from support.twins.handover import HANDOVER
from support.twins.interrupts import INTERRUPTS
from support.twins.ownership import OWNERSHIP
from support.twins.tlb import TLB
from support.twins.twins import Twins

_TRACED = {
    **CACHES, **FETCH, **CONTEXT, **BREAK_BEFORE_MAKE, **TLB, **ATTRIBUTES,
    **INTERRUPTS, **OWNERSHIP,
}  # fmt: skip
TWINS: dict[str, Twins] = {**FACTS, **HANDOVER, **AROUND, **CHOSEN, **BOOTS, **_TRACED}


def rule_named(name: str) -> Rule:
    [found] = [rule for rule in whole_book() if rule.name == name]
    return found
