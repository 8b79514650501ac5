"""Twins of fetch.*."""

from __future__ import annotations

from dataclasses import replace

from relokit.runtime.record.prehistory import Prehistory
from support import records as r
from support.traces import INNER, Story
from support.twins.twins import Twins


def _invalidated_at(va: int) -> Story:
    """Code that is stored, cleaned, invalidated by ``va`` and executed at its PA."""
    story = r.moved().store(r.SPARE, 64).dc("cvau", r.SPARE, 64).dsb()
    return story.ic_by_address(r.SPARE, 64, va=va).dsb().isb().fetch(r.SPARE).fetchable()


FETCH: dict[str, Twins] = {
    "fetch.image": Twins(r.traced(r.moved().dsb().ic().dsb())),
    "fetch.code": Twins(
        r.traced(
            r.moved()
            .store(r.SPARE, 64)
            .dc("cvau", r.SPARE, 64)
            .dsb()
            .ic()
            .isb()
            .fetch(r.SPARE)
            .fetchable()
        ),
        r.traced(r.moved().store(r.SPARE, 64).dc("cvau", r.SPARE, 64).fetchable().fetch(r.SPARE)),
    ),
    "fetch.alias": Twins(
        r.traced(_invalidated_at(r.SPARE | 0xFFFF << 48)), r.traced(_invalidated_at(r.SPARE))
    ),
    "fetch.domain": Twins(
        replace(r.AWAKE, trace=r.moved().dsb().ic().dsb().isb().trace()),
        replace(r.AWAKE, trace=r.moved().dsb().ic("ialluis").dsb(domain=INNER).isb().trace()),
    ),
    "fetch.in-place": Twins(
        replace(
            r.traced(Story(pc=r.CONTROL).mmu_off()),
            prehistory=Prehistory(r.IN_PLACE, r.IN_PLACE),
        ),
        replace(
            r.traced(Story(pc=r.CONTROL).fetchable().mmu_off()),
            prehistory=Prehistory(r.IN_PLACE, r.IN_PLACE),
        ),
    ),
}
