"""Twins of caches.*."""

from __future__ import annotations

from relokit.runtime.judge.model.caches.controls import HCR_VM
from support import records as r
from support.traces import FULL, INNER, NON_CACHEABLE, OUTER, STORES, UNALIGNED, Story
from support.twins.twins import Twins


def _mixed() -> Story:
    """A store with the MMU off to what is mapped Non-cacheable from then on."""
    story = r.moved().dc("civac", r.SPARE, 0x1000).fetchable().mmu_off().dc("ivac", r.SPARE, 64)
    story.dsb().store(r.SPARE, 8).mmu_on()
    story.attributes = NON_CACHEABLE
    return story


CACHES: dict[str, Twins] = {
    "caches.discard": Twins(
        r.traced(
            Story(pc=r.CONTROL)
            .store(r.KERNEL, r.SIZE)
            .dc("ivac", r.KERNEL, r.SIZE)
            .dsb()
            .store(r.DTB, 0x1000)
            .dc("civac", r.DTB, 0x1000)
            .fetchable()
        )
    ),
    "caches.masked-discard": Twins(
        r.traced(
            Story(pc=r.CONTROL, hcr=HCR_VM)
            .store(r.SPARE, 64)
            .dc("ivac", r.SPARE, 64)
            .store(r.KERNEL, r.SIZE)
            .dc("civac", r.KERNEL, r.SIZE)
            .store(r.DTB, 0x1000)
            .dc("civac", r.DTB, 0x1000)
            .fetchable()
        ),
    ),
    "caches.image": Twins(
        r.traced(r.moved().store(r.KERNEL, 64).fetchable()),
        r.traced(r.moved().store(r.KERNEL, 64).dc("cvac", r.KERNEL, 64).fetchable()),
    ),
    "caches.data": Twins(
        r.traced(r.moved().store(r.DTB, 64).fetchable()),
        r.traced(r.moved().store(r.DTB, 64).dc("cvac", r.DTB, 64).fetchable()),
    ),
    "caches.completion": Twins(
        r.traced(r.moved().fetchable().store(r.DTB, 64).dc("cvac", r.DTB, 64).dsb(STORES)),
        r.traced(r.moved().fetchable().store(r.DTB, 64).dc("cvac", r.DTB, 64).dsb(FULL, OUTER)),
    ),
    "caches.domain": Twins(
        r.traced(r.moved().fetchable().store(r.DTB, 64).dc("cvac", r.DTB, 64).dsb(FULL, INNER)),
    ),
    "caches.read-around": Twins(
        r.traced(r.moved().fetchable().store(r.SPARE, 64).mmu_off().load(r.SPARE, 64)),
        r.traced(
            r.moved()
            .store(r.SPARE, 64)
            .dc("cvac", r.SPARE, 64)
            .fetchable()
            .mmu_off()
            .load(r.SPARE, 64)
        ),
    ),
    "caches.write-around": Twins(
        r.traced(r.moved().fetchable().mmu_off().store(r.SPARE, 64)),
        r.traced(r.moved().dc("civac", r.SPARE, 0x800).fetchable().mmu_off().store(r.SPARE, 64)),
    ),
    "caches.read-hidden": Twins(
        r.traced(
            r.moved()
            .dc("civac", r.SPARE, 0x800)
            .fetchable()
            .mmu_off()
            .store(r.SPARE, 64)
            .mmu_on()
            .load(r.SPARE, 64)
        ),
        r.traced(
            r.moved()
            .dc("civac", r.SPARE, 0x800)
            .fetchable()
            .mmu_off()
            .store(r.SPARE, 64)
            .dc("ivac", r.SPARE, 64)
            .dsb()
            .mmu_on()
            .load(r.SPARE, 64)
        ),
    ),
    "caches.hidden": Twins(
        r.traced(r.moved().fetchable().mmu_off().store(r.DTB, 64)),
        r.traced(r.moved().fetchable().mmu_off().dc("ivac", r.DTB, 64).dsb().store(r.DTB, 64)),
    ),
    "caches.optional": Twins(
        r.traced(r.moved().dc("cvap", r.KERNEL, 64).fetchable()),
        r.traced(r.moved().dc("cvac", r.KERNEL, 64).fetchable()),
    ),
    "caches.mixed": Twins(
        r.traced(_mixed().load(r.SPARE, 8)), r.traced(_mixed().dmb().load(r.SPARE, 8))
    ),
    "caches.set-way": Twins(r.traced(r.moved().dc_by_way("cisw").fetchable())),
    "caches.device": Twins(
        r.traced(r.moved().fetchable().mmu_off().load(r.KERNEL + 1, 8, flags=UNALIGNED)),
        r.traced(r.moved().load(r.KERNEL + 1, 8, flags=UNALIGNED).fetchable()),
    ),
}
