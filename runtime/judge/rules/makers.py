"""Makers: the instructions that made what a finding is about, the likeliest to be wrong first.

From an instruction back: who wrote the registers that its address is made of, what these went by,
and which branch decided that it was come to. What the code shows by itself comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from heapq import heappop, heappush
from typing import NamedTuple
from weakref import ReferenceType, ref

from relokit.codegen.target import Regime
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.judge.rules.executed_steps import WORD, ExecutedSteps
from relokit.runtime.judge.rules.loose_ends import EndKind, LooseEnd, loose_ends
from relokit.runtime.judge.rules.made import Made, MadeHow, Used
from relokit.runtime.judge.rules.register_use import (
    ARGUMENTS,
    FLAGS,
    SYSTEM,
    name_of,
    system_register,
)
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import JumpFacts, LegName, Record
from relokit.runtime.record.scene import UPPER
from relokit.runtime.record.stations import StationRole

MAX_PLACES, MAX_MADE = 8, 12
"""Places that are told of a finding, and instructions in them."""
DECIDES, REPEATS, ITSELF, CAME = -1, -2, -3, -4
"""In place of a register: what is asked for is a branch, or the instruction itself."""
_STEP, _BRANCH = 2, 3
"""What an instruction is further away than what goes by it, and a branch than what it decides."""
_LOOSE, MAX_LOOSE = -4, 4
"""What a loose end is away from anything that is wrong, and how many of them are told."""
_SOON = 4
"""Instructions within which flags are used that are set."""
_PENDING, MAX_PENDING = 5, 2
"""The same of a register that is not used by the end: it may have been about to be."""
_HOW = {
    DECIDES: MadeHow.DECIDED,
    REPEATS: MadeHow.REPEATED,
    ITSELF: MadeHow.DONE,
    CAME: MadeHow.CAME,
}
_LOOSE_HOW = {
    EndKind.UNUSED: MadeHow.UNUSED,
    EndKind.PENDING: MadeHow.PENDING,
    EndKind.IN_VAIN: MadeHow.IN_VAIN,
    EndKind.IDLE: MadeHow.IDLE,
    EndKind.ENDLESS: MadeHow.ENDLESS,
    EndKind.ONCE: MadeHow.REPEATED,
}
_last: tuple[ReferenceType[object], JudgedSteps] | None = None


class JudgedSteps:
    """The steps of a record; number ``jump`` is the first one of the code that is judged."""

    def __init__(self, record: Record, steps: ExecutedSteps) -> None:
        self.steps = steps
        resumes = any(one.role is StationRole.RESUMED for one in record.promises)
        left = bool(len(steps)) and steps.leaves(len(steps) - 1)
        self.over = record.complete or left
        """Whether the code has come to its end: what is not used by then never will be."""
        # A kernel that is resumed is given nothing.
        self._given = 0 if resumes or not self.over else ARGUMENTS
        # Where the way ended before the jump, what is to be judged had begun all the same.
        jumped = isinstance(record.jump, JumpFacts)
        moved = record.leg(LegName.PRELUDE) if jumped else None
        self.jump = steps.at(moved.instructions) if moved else steps.first_below(UPPER)

    @cached_property
    def loose(self) -> tuple[LooseEnd, ...]:
        """Its loose ends, the last first."""
        return loose_ends(self.steps, self.jump, self._given)


class _Question(NamedTuple):
    """Who made ``number`` what it is at step ``at``: step ``maker``.

    What is asked next is ``cost`` away and more; it is told by ``rank``.
    """

    rank: int
    late: int
    number: int
    serial: int
    """Which one it is, so that all else is not compared."""
    maker: int
    at: int
    cost: int
    how: MadeHow
    used: int | None


def judged_steps(record: Record) -> JudgedSteps | None:
    """The steps of ``record``, made once; None where they were not recorded."""
    global _last
    path, code, trace = record.path, record.code, record.trace
    if isinstance(path, Unknown) or isinstance(code, Unknown) or isinstance(trace, Unknown):
        return None
    if _last is None or _last[0]() is not trace:
        hosts = record.regime is Regime.VHE
        steps = ExecutedSteps(path, code, trace.instructions, hosts=hosts)
        _last = ref(trace), JudgedSteps(record, steps)
    return _last[1]


def steps_of(record: Record) -> ExecutedSteps | None:
    """The steps of ``record``; None where they were not recorded."""
    found = judged_steps(record)
    return None if found is None else found.steps


def makers(record: Record, uses: Iterable[Used], told: int | None = None) -> tuple[Made, ...]:
    """Who made what ``uses`` go by, the nearest first: at most MAX_PLACES, and MAX_MADE.

    The instruction at VA ``told`` is known already.
    """
    found = judged_steps(record)
    if found is None:
        return ()
    search = _Search(record, found)
    for use in uses:
        search.begin(use)
    search.begin_loose()
    return tuple(search.found(told))


class _Search:
    def __init__(self, record: Record, judged: JudgedSteps) -> None:
        assert not isinstance(record.code, Unknown)
        self._code, self._judged, self._steps = record.code, judged, judged.steps
        self._todo: list[_Question] = []
        self._asked: set[tuple[int, int]] = set()
        self._serial = self._latest = 0
        self._about: list[int] = []

    def begin(self, use: Used) -> None:
        steps = self._steps
        end = len(steps) if use.begun is None else steps.at(use.begun)
        at: int | None = end
        if use.pc is not None:
            at = steps.last(use.pc, end)
            self._about.append(use.pc)
            if at is None:
                # A range of the trace begins before the instruction that is in it first.
                at = steps.next(use.pc, end - 1)
            if at is None:
                return
        registers = use.registers
        if registers is None:
            operands = steps.operands_at(use.pc) if use.pc is not None else None
            registers = tuple(sorted(operands.address or operands.reads)) if operands else ()
        assert at is not None
        # What has not happened may be for something that comes later.
        self._latest = max(self._latest, at if use.begun is not None else len(steps))
        if use.itself:
            self._ask(use.cost, at, ITSELF)
        # What is so at the jump itself was made before it.
        old = use.pc is not None or at > self._judged.jump
        for number in registers:
            self._ask(use.cost, at, number, old=old)
        for name in use.system:
            self._ask_system(use.cost, at, name, old=old)
        if use.pc is not None:
            self._ask(use.cost + _BRANCH, at, DECIDES)
            self._ask(use.cost + (0 if use.loop else _STEP), at, REPEATS)
            self._ask(use.cost + _BRANCH + 1, at, CAME)
        if use.choices:
            for step, one_way in steps.choices(self._judged.jump):
                self._ask(use.cost + (0 if one_way else 1), step, ITSELF)

    def begin_loose(self) -> None:
        """What is loose before all that was asked for."""
        steps, since = self._steps, self._judged.jump - 1
        before = [
            one
            for one in self._judged.loose
            if (steps.next(steps.pc(one.step), since) or 0) <= self._latest
        ]
        # What ended early may have been about to use it; a loop is one that was asked for.
        pending = [one for one in before if not self._judged.over and self._may_be_used(one)]
        surely = [one for one in before if one not in pending and self._is_about(one)]
        for number, one in enumerate(surely[:MAX_LOOSE]):
            self._push_loose(_LOOSE + number, one)
        for number, one in enumerate(pending[:MAX_PENDING]):
            self._push_loose(_PENDING + number, one)

    def _may_be_used(self, one: LooseEnd) -> bool:
        """Whether it may be that what is not used yet was about to be: flags are used at once."""
        if one.kind is not EndKind.PENDING:
            return False
        return one.register != FLAGS or len(self._steps) - one.step <= _SOON

    def _is_about(self, one: LooseEnd) -> bool:
        """Whether it is no loop that nothing of what was asked for is in."""
        if one.kind is not EndKind.ONCE:
            return True
        return any(one.others[0] <= pc <= self._steps.pc(one.step) for pc in self._about)

    def _push_loose(self, cost: int, one: LooseEnd) -> None:
        register = ITSELF if one.register is None else one.register
        how = _LOOSE_HOW[one.kind]
        other = one.others[0] if one.others else None
        if one.kind is EndKind.ONCE:
            register = REPEATS
        self._push(cost, register, one.step, one.step, how, other)
        if one.kind is EndKind.UNUSED and other is not None:
            again = self._steps.next(other, one.step)
            assert again is not None
            pc = self._steps.pc(one.step)
            self._push(cost, register, again, again, MadeHow.SET_AGAIN, pc)
        if one.kind is EndKind.ENDLESS:
            pc = self._steps.pc(one.step)
            for user in one.others:
                step = self._steps.last(user)
                if step is not None:
                    self._push(cost, register, step, step, how, pc)

    def _ask_system(self, cost: int, at: int, name: str, *, old: bool) -> None:
        number = system_register(name)
        if len(self._steps) and self._steps.writer(number, at) is None:
            last = min(at, len(self._steps) - 1)
            self._push(cost, number, last, at, MadeHow.NEVER, self._steps.pc(last))
        self._ask(cost, at, number, old=old)

    def _ask(self, cost: int, at: int, number: int, *, old: bool = True) -> None:
        if (at, number) in self._asked:
            return
        self._asked.add((at, number))
        maker = self._maker(at, number)
        if maker is None:
            return
        used = self._steps.pc(at) if at < len(self._steps) else None
        how = _HOW.get(number, MadeHow.MADE)
        if old and maker < self._judged.jump <= at:
            # What the code goes by and nothing in it has set: an argument, or it was forgotten.
            if number in (DECIDES, CAME):
                return
            how = MadeHow.BEFORE
            if number >= SYSTEM:
                cost += _STEP
            elif number >= ARGUMENTS:
                cost -= _STEP
            if ARGUMENTS <= number < SYSTEM:
                self._push_first(cost, number, self._judged.jump - 1)
        if used == self._steps.pc(maker) + WORD:
            # Next to what goes by it is hardly another place.
            cost -= _STEP // 2
        more = 0
        if how is MadeHow.MADE and number < SYSTEM:
            operands = self._steps.operands(maker)
            if not operands.reads and number >= ARGUMENTS:
                # It is still what it was at the beginning.
                self._push_first(cost + 1, number, maker)
            more = self._went_well(maker, at, number) - operands.cuts
        self._push(cost, number, maker, at, how, used, more)

    def _push_first(self, cost: int, number: int, behind: int) -> None:
        """Who has used it first: before that it should have been set to something else."""
        first = self._steps.reader_behind(number, behind)
        if first is not None:
            self._push(cost, number, first, first, MadeHow.FIRST, None)
            self._ask(cost + 1, first, DECIDES)

    def _went_well(self, maker: int, at: int, number: int) -> bool:
        """Whether the same has made the same for the same before, and it went on."""
        steps = self._steps
        if at >= len(steps):
            return False
        before = steps.last(steps.pc(at), at)
        if before is None or before < self._judged.jump:
            return False
        by = steps.writer(number, before)
        return by is not None and steps.pc(by) == steps.pc(maker)

    def _push(
        self,
        cost: int,
        number: int,
        maker: int,
        at: int,
        how: MadeHow,
        used: int | None,
        more: int = 0,
    ) -> None:
        self._serial += 1
        question = _Question(cost + more, -at, number, self._serial, maker, at, cost, how, used)
        heappush(self._todo, question)

    def found(self, known: int | None) -> Iterator[Made]:
        steps = self._steps
        told = set() if known is None else {known}
        lines = places = 0
        while self._todo and lines < MAX_MADE:
            one = heappop(self._todo)
            pc = steps.pc(one.maker)
            if pc not in told or one.how is MadeHow.NEVER:
                # Next to one that was told is the same place.
                places += not told & {pc - WORD, pc, pc + WORD}
                if places > MAX_PLACES:
                    return
                told.add(pc)
                lines += 1
                yield self._made(pc, one)
            if one.how in _ENDS or (one.how is MadeHow.DONE and not steps.operands_at(pc).decides):
                continue
            operands = steps.operands_at(pc)
            for register in sorted(operands.reads):
                step = _STEP if register < SYSTEM else 2 * _STEP
                # MOVK goes on with a constant.
                self._ask(one.cost + (0 if operands.goes_on else step), one.maker, register)
            if one.number >= 0:
                self._ask(one.cost + _BRANCH, one.maker, DECIDES)
                self._ask(one.cost + _BRANCH + 1, one.maker, CAME)
            if one.number in (REPEATS, DECIDES):
                # The loop around that loop, and why this was decided at all.
                self._ask(one.cost + _BRANCH + 1, one.maker, one.number)

    def _maker(self, at: int, number: int) -> int | None:
        if number == DECIDES:
            return self._steps.decider(at)
        if number == REPEATS:
            return self._steps.repeater(at)
        if number == CAME:
            return self._steps.taken(at)
        return at if number == ITSELF else self._steps.writer(number, at)

    def _made(self, pc: int, one: _Question) -> Made:
        word = self._code.word(pc)
        return Made(
            one.how,
            pc,
            "code" if word is None else disassemble(word, pc),
            self._code.places.get(pc),
            None if one.number < 0 else name_of(one.number),
            one.used,
        )


_ENDS = frozenset(
    {
        MadeHow.BEFORE,
        MadeHow.NEVER,
        MadeHow.SET_AGAIN,
        MadeHow.FIRST,
        MadeHow.UNUSED,
        MadeHow.PENDING,
        MadeHow.IN_VAIN,
        MadeHow.IDLE,
    }
)
"""From what is so nothing is followed back."""
