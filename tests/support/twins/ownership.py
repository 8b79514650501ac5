"""Twins of own.*."""

from __future__ import annotations

from dataclasses import replace

from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.record.claims import Claim, Claimed
from relokit.runtime.record.record import Record
from support import records as r
from support.traces import Story
from support.twins.twins import Twins

SWAPPER, VECTORS = 0x7100_0000, 0x7200_0000
"""The old kernel's, which lie in no destination here."""


def _copied(pages: int) -> Story:
    """The first ``pages`` of the list, each read and stored."""
    story = Story(pc=r.CONTROL)
    for number in range(pages):
        story.load(r.SOURCES + 0x1000 * number, 0x1000).store(r.PAGES[number], 0x1000)
        story.dc("civac", r.PAGES[number], 0x1000).dsb()
    return story


def _all() -> Story:
    return _copied(len(r.PAGES)).fetchable()


def _translating(*, again: bool) -> Record:
    """A page goes where the old kernel's tables are, to which TTBR1 goes back after it, or not."""
    story = _copied(1).store(SWAPPER, 0x1000).dc("civac", SWAPPER, 0x1000).fetchable()
    story.msr("TTBR1_EL1", SWAPPER if again else r.ZERO_PAGE).isb().load(r.KIMAGE, 8)
    record = r.owned(story, filled=(_page(r.KERNEL), _page(SWAPPER)))
    table = Region(Owner(OwnerKind.SWAPPER), SWAPPER, 0x1000)
    return replace(
        record,
        segments=(replace(record.segments[0], size=0x1000),),
        regions=(*record.regions, table),
    )


def _page(pa: int) -> tuple[int, int]:
    return pa, pa + 0x1000


def _source_in_the_way(*, early: bool) -> Record:
    """A source that is the second destination; its page is read before that is filled, or after."""
    first, second = r.SOURCES, r.SOURCES + 0x1000
    story = Story(pc=r.CONTROL)
    if early:
        story.store(second, 0x40)
    story.load(second, 0x1000).store(r.KERNEL, 0x1000).dc("civac", r.KERNEL, 0x1000)
    story.load(first, 0x1000).store(second, 0x1000).dc("civac", second, 0x1000)
    record = r.owned(
        story.dsb().fetchable(),
        filled=(_page(r.KERNEL), _page(second)),
        sources=_words(second, first),
        targets=_words(r.KERNEL, second),
    )
    return replace(record, segments=(replace(record.segments[0], size=0x1000),))


def _words(*words: int) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


def _claimed(claim: Claim, start: int) -> Record:
    return r.owned(_all(), claims=(Claimed(claim, start, start + 0x800),))


OWNERSHIP: dict[str, Twins] = {
    "own.store": Twins(
        r.owned(_all().store(r.SPARE, 8)),
        r.owned(_all().store(r.KERNEL + r.SIZE - 8, 8).dc("civac", r.KERNEL, r.SIZE).fetchable()),
    ),
    "own.source": Twins(_source_in_the_way(early=True), _source_in_the_way(early=False)),
    "own.read": Twins(
        r.owned(
            _all()
            .store(r.KIMAGE, 0x1000)
            .dc("civac", r.KIMAGE, 0x1000)
            .fetchable()
            .load(r.KIMAGE, 8),
            filled=(*r.IN_PLACE, _page(r.KIMAGE)),
        ),
        r.owned(
            _copied(1)
            .load(r.KIMAGE, 8)
            .store(r.KIMAGE, 0x1000)
            .dc("civac", r.KIMAGE, 0x1000)
            .store(r.KERNEL + 0x1000, r.SIZE - 0x1000)
            .store(r.DTB, 0x1000)
            .dc("civac", r.DTB, 0x1000)
            .dc("civac", r.KERNEL, r.SIZE)
            .fetchable(),
            filled=(*r.IN_PLACE, _page(r.KIMAGE)),
        ),
    ),
    "own.list": Twins(
        r.owned(_all().load(r.LIST + 0x38, 16)),
        r.owned(_all().load(r.LIST + 0x38, 8)),
    ),
    "own.stray-read": Twins(
        r.owned(_all().load(r.SPARE, 8)),
        r.owned(_all().load(r.KIMAGE, 8)),
    ),
    "own.code": Twins(
        r.owned(
            _all().store(VECTORS, 0x1000).dc("civac", VECTORS, 0x1000).fetchable().fetch(VECTORS),
            filled=(*r.IN_PLACE, _page(VECTORS)),
        ),
        r.owned(
            _all().fetch(VECTORS).store(VECTORS, 0x1000).dc("civac", VECTORS, 0x1000).fetchable(),
            filled=(*r.IN_PLACE, _page(VECTORS)),
        ),
    ),
    "own.tables": Twins(_translating(again=True), _translating(again=False)),
    "own.unwritten": Twins(
        r.owned(
            _copied(4).store(r.DTB, 0xFF8).dc("civac", r.DTB, 0x1000).fetchable(),
        ),
        r.owned(
            _copied(4).store(r.DTB, 0x1000).dc("civac", r.DTB, 0x1000).fetchable(),
        ),
    ),
    "own.order": Twins(
        r.owned(_all(), targets=_words(r.SOURCES + 0x3000, *r.PAGES[1:])),
        r.owned(_all(), targets=_words(r.SOURCES, *r.PAGES[1:])),
    ),
    "own.safe": Twins(
        r.owned(
            _all().store(r.LIST, 0x1000).dc("civac", r.LIST, 0x1000).fetchable(),
            filled=(*r.IN_PLACE, _page(r.LIST)),
        ),
        r.owned(
            _all().store(r.KIMAGE, 0x1000).dc("civac", r.KIMAGE, 0x1000).fetchable(),
            filled=(*r.IN_PLACE, _page(r.KIMAGE)),
        ),
    ),
    "own.reserved": Twins(
        _claimed(Claim.PRESERVED, r.DTB + 0xFFF), _claimed(Claim.PRESERVED, r.DTB + 0x1000)
    ),
    "own.others": Twins(
        _claimed(Claim.WRITTEN, r.KERNEL - 0x7FF), _claimed(Claim.EXECUTED, r.KERNEL - 0x800)
    ),
}
