"""Makers: the instructions that made what a finding is about, the likeliest to be wrong first.

From an instruction back: who wrote the registers that its address is made of, what these went by,
and which branch decided that it was come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from weakref import ReferenceType, ref

from relokit.codegen.target import Regime
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.judge.rules.executed_steps import WORD, ExecutedSteps
from relokit.runtime.judge.rules.made import Made, MadeHow, Used
from relokit.runtime.judge.rules.register_use import SYSTEM, name_of, system_register
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import LegName, Record

MAX_PLACES, MAX_MADE = 8, 12
"""Places that are told of a finding, and instructions in them."""
DECIDES, REPEATS, ITSELF = -1, -2, -3
"""In place of a register: what is asked for is a branch, or the instruction itself."""
_STEP, _BRANCH = 2, 3
"""What an instruction is further away than what goes by it, and a branch than what it decides."""
_HOW = {DECIDES: MadeHow.DECIDED, REPEATS: MadeHow.REPEATED, ITSELF: MadeHow.DONE}
_last: tuple[ReferenceType[object], ExecutedSteps] | None = None


def steps_of(record: Record) -> ExecutedSteps | None:
    """The steps of ``record``, made once; None where they were not recorded."""
    global _last
    path, code, trace = record.path, record.code, record.trace
    if isinstance(path, Unknown) or isinstance(code, Unknown) or isinstance(trace, Unknown):
        return None
    if _last is None or _last[0]() is not trace:
        hosts = record.regime is Regime.VHE
        _last = ref(trace), ExecutedSteps(path, code, trace.instructions, hosts=hosts)
    return _last[1]


def makers(record: Record, uses: Iterable[Used], told: int | None = None) -> tuple[Made, ...]:
    """Who made what ``uses`` go by, the nearest first: at most MAX_PLACES, and MAX_MADE.

    The instruction at VA ``told`` is known already.
    """
    steps = steps_of(record)
    if steps is None:
        return ()
    search = _Search(record, steps)
    for use in uses:
        search.begin(use)
    return tuple(search.found(told))


class _Search:
    def __init__(self, record: Record, steps: ExecutedSteps) -> None:
        assert not isinstance(record.code, Unknown)
        self._code, self._steps = record.code, steps
        moved = record.leg(LegName.PRELUDE) if record.jump is not None else None
        self._jump = steps.at(moved.instructions) if moved else 0
        self._todo: list[tuple[int, int, int, int, int]] = []
        self._asked: set[tuple[int, int]] = set()

    def begin(self, use: Used) -> None:
        steps = self._steps
        end = len(steps) if use.begun is None else steps.at(use.begun)
        at: int | None = end
        if use.pc is not None:
            at = steps.last(use.pc, end)
            if at is None:
                return
        registers = use.registers
        if registers is None:
            operands = steps.operands_at(use.pc) if use.pc is not None else None
            registers = tuple(sorted(operands.address or operands.reads)) if operands else ()
        assert at is not None
        if use.itself:
            self._ask(use.cost, at, ITSELF)
        for number in registers:
            self._ask(use.cost, at, number)
        for name in use.system:
            self._ask(use.cost, at, system_register(name))
        if use.pc is not None:
            self._ask(use.cost + _BRANCH, at, DECIDES)
            self._ask(use.cost + (0 if use.loop else _STEP), at, REPEATS)
        if use.choices:
            for step in steps.one_way(self._jump):
                self._ask(use.cost, step, ITSELF)

    def _ask(self, cost: int, at: int, number: int) -> None:
        if (at, number) in self._asked:
            return
        self._asked.add((at, number))
        maker = self._maker(at, number)
        if maker is None:
            return
        if self._is_old(maker, at):
            # What the code goes by and nothing in it has set: an argument, or it was forgotten.
            if number == DECIDES:
                return
            cost += _STEP if number >= SYSTEM else -_STEP
        if at < len(self._steps) and self._steps.pc(at) == self._steps.pc(maker) + WORD:
            # Next to what goes by it is hardly another place.
            cost -= _STEP // 2
        heappush(self._todo, (cost, -at, number, maker, at))

    def _is_old(self, maker: int, at: int) -> bool:
        return maker < self._jump <= at

    def found(self, known: int | None) -> Iterator[Made]:
        steps = self._steps
        told = set() if known is None else {known}
        lines = places = 0
        while self._todo and lines < MAX_MADE:
            cost, _, number, maker, at = heappop(self._todo)
            pc = steps.pc(maker)
            old = self._is_old(maker, at)
            if pc not in told:
                # Next to one that was told is the same place.
                places += not told & {pc - WORD, pc + WORD}
                if places > MAX_PLACES:
                    return
                told.add(pc)
                lines += 1
                yield self._made(pc, number, steps.pc(at) if at < len(steps) else None, old)
            if old or (number == ITSELF and not steps.operands_at(pc).decides):
                continue
            for one in sorted(steps.operands_at(pc).reads):
                self._ask(cost + (_STEP if one < SYSTEM else 2 * _STEP), maker, one)
            if number >= 0:
                self._ask(cost + _BRANCH, maker, DECIDES)

    def _maker(self, at: int, number: int) -> int | None:
        if number == DECIDES:
            return self._steps.decider(at)
        if number == REPEATS:
            return self._steps.repeater(at)
        return at if number == ITSELF else self._steps.writer(number, at)

    def _made(self, pc: int, number: int, used: int | None, old: bool) -> Made:
        word = self._code.word(pc)
        return Made(
            MadeHow.BEFORE if old else _HOW.get(number, MadeHow.MADE),
            pc,
            "code" if word is None else disassemble(word, pc),
            self._code.places.get(pc),
            None if number < 0 else name_of(number),
            used,
        )
