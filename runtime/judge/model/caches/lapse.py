"""Lapse: something that the caches may do after a trace and must not, gathered by instruction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from enum import Enum

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.model.synchronising import Missing

MAX_SPANS = 64
"""Ranges that a lapse remembers, the first ones."""


class LapseKind(Enum):
    """What is wrong."""

    DISCARDED = "dirty bytes are dropped"
    MASKED = "dirty bytes would be dropped but for a hypervisor"
    OPTIONAL = "maintenance that not every CPU has"
    UNCOMPLETED = "maintenance is relied on and not complete"
    WEAK = "maintenance is complete for another domain only"
    READ_AROUND = "a read around the caches of what may be dirty in one"
    READ_HIDDEN = "a read through the caches of what was written around them"
    WRITTEN_AROUND = "a write around the caches of what may be dirty in one"
    HIDDEN = "a line that may hide what was written around it"
    DIRTY = "not at the point of coherency"
    SET_WAY = "maintenance by set and way"
    MIXED = "Device and Non-cacheable accesses to the same bytes without a barrier"
    FORBIDDEN = "an access that Device memory does not take"
    FETCHED_DIRTY = "a fetch around the caches of what may be dirty in one"
    FETCHED_HIDDEN = "a fetch through the caches of what was written around them"
    FETCHED_OLD = "a fetch of what may be an old instruction"
    FETCHED_ELSEWHERE = "a fetch at another VA than its I-cache lines were invalidated at"
    OLD_CODE = "code that may be fetched as it was"
    NEVER_INVALIDATED = "code in place whose I-cache lines nobody invalidated"


@dataclass(slots=True)
class Lapse:
    """One kind of lapse at one instruction: ``pc`` is its VA, None if there is none to name.

    ``spans`` are the first (PA, bytes) it is about, ``size`` the bytes of all of them, ``times``
    how many records of the trace it is in. ``others`` are the VAs of instructions that take part,
    with their bytes: who stored, who cleaned. ``old`` bytes are the old kernel's. ``segments`` are
    the numbers of those that are handed over so; ``executed`` is False if they are DIRTY and none
    is entered with the MMU off. ``missed`` says of each line of the first of them whether it is
    one of these. ``missing`` is the step that code lacks.
    """

    kind: LapseKind
    pc: int | None
    executed: bool = False
    segments: list[int] = field(default_factory=list)
    size: int = 0
    times: int = 0
    old: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)
    missed: npt.NDArray[np.bool_] | None = None
    missing: Missing | None = None

    def add(self, lines: npt.NDArray[np.int64], line: int) -> None:
        """Count one more time it happens: to ``lines``, PAs, of ``line`` bytes each."""
        self.times += 1
        self.size += len(lines) * line
        if len(self.spans) < MAX_SPANS:
            self.spans.extend(_runs(lines, line))
            del self.spans[MAX_SPANS:]


class Lapses:
    """All lapses of a trace, in the order in which they first happened."""

    def __init__(self) -> None:
        self._found: dict[tuple[LapseKind, int | None, bool], Lapse] = {}

    def at(self, kind: LapseKind, pc: int | None) -> Lapse:
        """The one of ``kind`` at ``pc``, new if there was none yet."""
        return self._found.setdefault((kind, pc, False), Lapse(kind, pc))

    def handed_over(self, kind: LapseKind, pc: int | None, segment: int, executed: bool) -> Lapse:
        """The same, of what is handed over."""
        lapse = self._found.setdefault((kind, pc, executed), Lapse(kind, pc, executed))
        if segment not in lapse.segments:
            lapse.segments.append(segment)
        return lapse

    def of(self, kinds: Iterable[LapseKind]) -> Iterator[Lapse]:
        """Those of ``kinds``."""
        wanted = set(kinds)
        return (lapse for lapse in self._found.values() if lapse.kind in wanted)


def _runs(lines: npt.NDArray[np.int64], line: int) -> Iterator[tuple[int, int]]:
    """(PA, bytes) of lines that follow each other, the first MAX_SPANS."""
    breaks = np.flatnonzero(np.diff(lines) != line)[:MAX_SPANS]
    starts = [0, *(int(at) + 1 for at in breaks)]
    ends = [*(int(at) + 1 for at in breaks), len(lines)]
    for start, end in zip(starts, ends, strict=True):
        if end > start:
            yield int(lines[start]), (end - start) * line
