"""When changed code is certain to be fetched: the order of DSB, IC, DSB and context
synchronisation that has to follow. Source: ARM DDI 0487, B2.7.4.2 and D7.5.9.15.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum, auto

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.system_registers import OPERATIONS
from relokit.runtime.record.trace import Records, TraceKind

DSB_TYPE, DSB_FULL = 0b11, 0b11
INVALIDATE_ALL = (OPERATIONS["ic iallu"], OPERATIONS["ic ialluis"])
SYNCHRONISES = (TraceKind.ISB, TraceKind.EXCEPTION, TraceKind.ERET)
NEVER = 1 << 62


class Missing(Enum):
    """The first step that is not there."""

    CLEAN = auto()
    DSB_BEFORE = auto()
    IC = auto()
    DSB_AFTER = auto()
    CONTEXT = auto()


@dataclass(frozen=True)
class Steps:
    """When each step was made: numbers of records from 1 on, ascending."""

    barriers: list[int]
    invalidations: list[int]
    contexts: list[int]

    @classmethod
    def of(cls, records: Records) -> Steps:
        """The steps in ``records``."""
        kinds, encodings = records["kind"], records["encoding"]
        full = (kinds == TraceKind.DSB) & (encodings & DSB_TYPE == DSB_FULL)
        ic = (kinds == TraceKind.IC) & np.isin(encodings, INVALIDATE_ALL)
        context = np.isin(kinds, [int(kind) for kind in SYNCHRONISES])
        return cls(*((np.flatnonzero(mask) + 1).tolist() for mask in (full, ic, context)))

    def missing(self, cleaned: int, now: int) -> tuple[Missing, int] | None:
        """What is missing at ``now`` for code that was cleaned at ``cleaned``, and the step before.

        None if nothing is.
        """
        barrier = _next(self.barriers, cleaned)
        if barrier > now:
            return Missing.DSB_BEFORE, cleaned
        ic = _next(self.invalidations, barrier)
        if ic > now:
            return Missing.IC, barrier
        return self.missing_after(ic, now)

    def missing_after(self, ic: int, now: int) -> tuple[Missing, int] | None:
        """The same, of lines that were invalidated at ``ic``."""
        barrier = _next(self.barriers, ic)
        if barrier > now:
            return Missing.DSB_AFTER, ic
        if _next(self.contexts, barrier) > now:
            return Missing.CONTEXT, barrier
        return None

    def latest(self, now: int) -> int:
        """The latest clean for which nothing is missing at ``now``; -1 if there is none.

        At 0, before the trace, are the cleans that were complete when it began.
        """
        context = _last(self.contexts, now)
        ic = _last(self.invalidations, _last(self.barriers, context - 1) - 1)
        return max(0, _last(self.barriers, ic - 1) - 1) if ic else -1


def _next(steps: list[int], after: int) -> int:
    at = bisect_right(steps, after)
    return steps[at] if at < len(steps) else NEVER


def _last(steps: list[int], until: int) -> int:
    at = bisect_right(steps, until)
    return steps[at - 1] if at else 0
