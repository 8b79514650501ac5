"""Stories followed by the model of the caches, in a place of memory of their own."""

from __future__ import annotations

from relokit.runtime.judge.model.caches.coherence import Coherence
from relokit.runtime.judge.model.caches.holdings import Delivered
from relokit.runtime.judge.model.caches.lapse import Lapse, LapseKind
from relokit.runtime.record.prehistory import Prehistory
from support.traces import Story

BASE, SIZE = 0x4000_0000, 0x4000
OTHER = 0x4100_0000
CLEAN = Prehistory(clean=((BASE, OTHER + SIZE),), needed=())
DIRTY = Prehistory(clean=(), needed=((BASE, BASE + SIZE),))


def followed(story: Story, prehistory: Prehistory = CLEAN, *, executed: bool = True) -> Coherence:
    trace = story.trace()
    return Coherence(trace, prehistory, (Delivered(0, executed, BASE, SIZE, len(trace.records)),))


def lapses(story: Story, *kinds: LapseKind, prehistory: Prehistory = CLEAN) -> list[Lapse]:
    return list(followed(story, prehistory).lapses.of(kinds or LapseKind))
