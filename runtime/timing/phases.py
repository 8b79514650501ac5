"""Which phase an instruction belongs to: by what the code does, not by its name.

The move is a loop over a list, with loops in it that copy a page and maintain its lines. So a phase
is that of an instruction (by VA) and of the moment: what runs before the loop is begun prepares,
and switches tables; what runs after it leaves. Code of others is split alike.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.record.code_path import PATH_HEAD, CodePath
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.trace import Records
from relokit.runtime.timing.counts import Phase
from relokit.runtime.timing.word_effects import TABLES, InstructionClass, WordEffect

WORD = 4
MAX_LISTED = 1 << 16
"""Instructions before the loop, or after it, that are listed one by one."""
MAX_LOOPS = 1 << 10
TOO_LONG = "the way before or after the copying is too long: not all of it was kept"
Interval = tuple[int, int]
"""VA of the first and of the last instruction."""
Executions = Counter[int]
"""By VA, how often the instruction was begun."""
_PHASES = tuple(Phase)
_NUMBER = {phase: number for number, phase in enumerate(_PHASES)}


@dataclass(frozen=True)
class PhaseSplit:
    """``executed`` are the instructions of each phase.

    By moments (instructions begun before): the move is from ``jump`` to ``entered``, its loop from
    ``first`` up to ``last``, and tables are switched from ``switched[0]`` up to ``switched[1]``.
    ``within`` are the phases of the loop's instructions, and of what it calls.
    """

    executed: Mapping[Phase, Executions]
    jump: int
    first: int
    last: int
    entered: int
    switched: tuple[int, int]
    within: Mapping[int, Phase]

    def numbers_of(self, records: Records) -> npt.NDArray[np.uint8]:
        """For each of ``records`` the place of its phase in Phase."""
        before = records["before"].astype(np.int64)
        found = np.full(len(records), _NUMBER[Phase.LIST_WALK], np.uint8)
        pcs = np.array(sorted(self.within), np.uint64)
        if len(pcs):
            phases = np.array([_NUMBER[self.within[pc]] for pc in pcs.tolist()], np.uint8)
            at = np.minimum(np.searchsorted(pcs, records["pc"]), len(pcs) - 1)
            known = pcs[at] == records["pc"]
            found[known] = phases[at[known]]
        found[before < self.first] = _NUMBER[Phase.LIST_WALK]
        low, high = self.switched
        found[(before >= low) & (before < high)] = _NUMBER[Phase.TABLE_SWITCH]
        found[before >= self.last] = _NUMBER[Phase.EXIT]
        found[before >= self.entered] = _NUMBER[Phase.PURGATORY]
        found[before < self.jump] = _NUMBER[Phase.LAST_STEPS]
        return found


def split(
    path: CodePath,
    executed: Iterable[tuple[int, int, int]],
    effects: Mapping[int, WordEffect],
    jump: int,
    entered: int,
    instructions: int,
) -> PhaseSplit:
    """The phases of a way of ``instructions``, that moves from moment ``jump`` to ``entered``.

    ``executed`` are (VA, length, times) of blocks, ``effects`` what the words at VAs do. Raises
    UnknownFactError where ``path`` has not enough of it.
    """
    everything = _tally(executed)
    way = _WayTaken(path, instructions)
    parts = {
        Phase.LAST_STEPS: way.listed(0, jump),
        Phase.PURGATORY: way.listed(entered, instructions),
    }
    outside = Counter(parts[Phase.LAST_STEPS]) + Counter(parts[Phase.PURGATORY])
    move = everything - outside
    loops = _loops(move, effects)
    spine = _spine(loops, move, effects)
    first, last = way.within(spine, jump, entered) if spine else (jump, jump)
    before, after = way.listed(jump, first), way.listed(last, entered)
    inner = move - Counter(before) - Counter(after)
    low, high = _switch(before, effects)
    within = _phases_in_loop(loops, spine, inner, effects)
    sorted_out: dict[Phase, Executions] = {
        Phase.LAST_STEPS: Counter(parts[Phase.LAST_STEPS]),
        Phase.LIST_WALK: Counter(before[:low] + before[high:]),
        Phase.COPY: Counter(),
        Phase.MAINTENANCE: Counter(),
        Phase.TABLE_SWITCH: Counter(before[low:high]),
        Phase.EXIT: Counter(after),
        Phase.PURGATORY: Counter(parts[Phase.PURGATORY]),
    }
    for pc, times in inner.items():
        sorted_out[within[pc]][pc] += times
    if sum(times for part in sorted_out.values() for times in part.values()) != instructions:
        raise UnknownFactError("the parts of the way do not add up")
    return PhaseSplit(sorted_out, jump, first, last, entered, (jump + low, jump + high), within)


def _tally(executed: Iterable[tuple[int, int, int]]) -> Executions:
    found: Executions = Counter()
    for pc, length, times in executed:
        for at in range(pc, pc + length * WORD, WORD):
            found[at] += times
    return found


class _WayTaken:
    """What ``path`` has of the way: rows in order, the last ones behind a gap, perhaps."""

    def __init__(self, path: CodePath, instructions: int) -> None:
        self._rows = rows = path.rows()
        self._before = rows["before"].astype(np.int64)
        self._ends = np.append(self._before[1:], instructions)
        self._gap: tuple[int, int] | None = None
        if path.left_out and len(rows) > PATH_HEAD:
            # The last row before the gap ends somewhere in it.
            start = int(self._before[PATH_HEAD - 1])
            self._gap = start, int(self._before[PATH_HEAD])
        most = rows["length"].astype(np.int64) * rows["times"]
        too_long = self._ends - self._before > most
        if self._gap:
            too_long[PATH_HEAD - 1] = False
        if too_long.any() or not (rows["length"] > 0).all():
            raise UnknownFactError("the parts of the way do not add up")

    def listed(self, low: int, high: int) -> list[int]:
        """VAs of the instructions from moment ``low`` up to ``high``, in order."""
        if high - low > MAX_LISTED or (self._gap and low < self._gap[1] and high > self._gap[0]):
            raise UnknownFactError(TOO_LONG)
        chosen = np.flatnonzero((self._ends > low) & (self._before < high))
        found: list[int] = []
        for row in chosen.tolist():
            pc, length = int(self._rows["pc"][row]), int(self._rows["length"][row])
            start, end = int(self._before[row]), int(self._ends[row])
            steps = range(max(low, start) - start, min(high, end) - start)
            found += [pc + step % length * WORD for step in steps]
        if len(found) != high - low:
            raise UnknownFactError(TOO_LONG)
        return found

    def within(self, spine: Interval, low: int, high: int) -> tuple[int, int]:
        """From which moment on the way is in ``spine``, and from which on it no longer is."""
        low_pc, high_pc = spine
        rows = self._rows
        ends = rows["pc"] + rows["length"].astype(np.uint64) * np.uint64(WORD)
        inside = (self._before >= low) & (self._before < high)
        inside &= (rows["pc"] <= high_pc) & (ends > low_pc)
        found = np.flatnonzero(inside)
        if not len(found):
            raise UnknownFactError(TOO_LONG)
        first, last = self._row(int(found[0])), self._row(int(found[-1]))
        begin = first[1] + max(0, low_pc - first[0]) // WORD
        pc, start, length, end = last
        # Its last turn.
        turn = start + (end - start - 1) // length * length
        return begin, min(end, turn + max(0, high_pc + WORD - pc) // WORD)

    def _row(self, row: int) -> tuple[int, int, int, int]:
        one: Any = self._rows[row]
        return int(one["pc"]), int(self._before[row]), int(one["length"]), int(self._ends[row])


def _loops(executed: Executions, effects: Mapping[int, WordEffect]) -> list[Interval]:
    """What direct branches close, the smallest first."""
    found = {
        (pc + effect.distance, pc)
        for pc in executed
        if (effect := effects[pc]).distance < 0 and pc + effect.distance in executed
    }
    if len(found) > MAX_LOOPS:
        raise UnknownFactError(f"{len(found):,} loops: no move has so many")
    return sorted(found, key=lambda loop: (loop[1] - loop[0], loop))


def _spine(
    loops: list[Interval], executed: Executions, effects: Mapping[int, WordEffect]
) -> Interval | None:
    """The largest loop that stores: the one over the list."""
    storing = sorted(pc for pc in executed if effects[pc].stores)
    for low, high in reversed(loops):
        if bisect_left(storing, low) < bisect_right(storing, high):
            return low, high
    return None


def _phases_in_loop(
    loops: list[Interval],
    spine: Interval | None,
    executed: Executions,
    effects: Mapping[int, WordEffect],
) -> dict[int, Phase]:
    """By the innermost loop: one that maintains lines, one that stores; else each by itself."""
    found: dict[int, Phase] = {}
    pcs = sorted(executed)
    for low, high in loops:
        if (low, high) == spine:
            break
        body = pcs[bisect_left(pcs, low) : bisect_right(pcs, high)]
        phase = _phase_of_loop([effects[at] for at in body])
        if phase is not None:
            for at in body:
                found.setdefault(at, phase)
    copies = Phase.COPY in found.values()
    for at in executed:
        if at not in found:
            found[at] = _phase_alone(effects[at], copies=copies)
    return found


def _phase_of_loop(body: list[WordEffect]) -> Phase | None:
    if any(one.kind is InstructionClass.CACHE for one in body):
        return Phase.MAINTENANCE
    return Phase.COPY if any(one.stores for one in body) else None


def _phase_alone(effect: WordEffect, *, copies: bool) -> Phase:
    """Of an instruction of the loop over the list; ``copies``: a loop in it copies a page."""
    if effect.kind in (InstructionClass.CACHE, InstructionClass.TLB, InstructionClass.BARRIER):
        return Phase.MAINTENANCE
    # Where a page is copied without a loop, a word of the list is what is loaded by itself.
    by_pairs = effect.loads > 2 * WORD and not copies
    return Phase.COPY if effect.stores or by_pairs else Phase.LIST_WALK


def _switch(before: list[int], effects: Mapping[int, WordEffect]) -> tuple[int, int]:
    """Where of the instructions ``before`` the loop tables are switched: from, up to."""
    numbers = [
        number
        for number, pc in enumerate(before)
        if effects[pc].operation == TABLES or effects[pc].kind is InstructionClass.TLB
    ]
    if not numbers:
        return 0, 0
    end = numbers[-1] + 1
    while end < len(before) and effects[before[end]].kind is InstructionClass.BARRIER:
        end += 1
    return numbers[0], end
