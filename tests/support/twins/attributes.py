"""Twins of tlb.attributes and tlb.contiguous."""

from __future__ import annotations

from relokit.runtime.arch import descriptors as d
from relokit.runtime.record.record import Record
from support import records as r
from support.tables import leaves
from support.traces import NON, WRITE_BACK, Story
from support.twins.switching import IDMAP, MAPS, begun
from support.twins.twins import Twins

_UNSHARED = WRITE_BACK & ~(3 << 8) | NON << 8
_GROUP = 0x10000


def _read_as(attributes: int) -> Record:
    """Memory is read, and this is how the tables map it."""
    story = begun()
    story.attributes = attributes
    return _told(story.load(r.SPARE, 16))


def _alone(size: int) -> Record:
    """Code lies in so many bytes of entries that have the Contiguous bit."""
    entry = leaves(r.CONTROL, r.CONTROL, size, bits=d.KERNEL_RX | d.CONTIGUOUS)
    return r.traced(begun().mmu_off(), maps={**MAPS, IDMAP: (entry,)})


def _told(story: Story) -> Record:
    story.attributes = WRITE_BACK
    return r.traced(story.mmu_off(), maps=MAPS)


ATTRIBUTES: dict[str, Twins] = {
    "tlb.attributes": Twins(_read_as(_UNSHARED), _read_as(WRITE_BACK)),
    "tlb.contiguous": Twins(_alone(0x1000), _alone(_GROUP)),
}
