"""Loose ends: what executed code shows by itself to be missing or misplaced, whatever is wrong.

A register that is set and set again before anything has used it; an instruction without effect; a
loop that does nothing, or that nothing in it brings nearer to its end. Code that is right has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.rules.executed_steps import WORD, ExecutedSteps
from relokit.runtime.judge.rules.register_use import ARGUMENTS, FLAGS, Effect, RegisterUse

_EVERY = (1 << (FLAGS + 1)) - 1
"""A bit for each general register, SP and the flags."""
_COUNTS = frozenset({Effect.HINT, Effect.NONE, Effect.REGISTERS, Effect.BRANCH})
"""What a loop may be made of that does nothing."""
MAX_LOOP = 64
"""Instructions of a loop that is looked at."""


class EndKind(Enum):
    """What is loose about an instruction."""

    UNUSED = auto()
    """It sets a register that nothing has used when it is set again."""
    PENDING = auto()
    """It sets a register that nothing has used at the end."""
    IN_VAIN = auto()
    """It has no effect at all, and is none of those that are made for that (NOP)."""
    IDLE = auto()
    """It is the branch of a loop that does nothing but count."""
    ENDLESS = auto()
    """It is the branch of a loop, and by what it decides nothing in the loop changes."""
    ONCE = auto()
    """It is the branch of a loop, and was never taken: what is in the loop was done once."""


@dataclass(frozen=True, slots=True)
class LooseEnd:
    """The last instruction that ``kind`` is about is step ``step``.

    ``register`` is what it sets; ``others`` are VAs of instructions that take part: the one that
    sets it again; the first of a loop that is idle; what has to do with the end of one that is
    ENDLESS.
    """

    kind: EndKind
    step: int
    register: int | None = None
    others: tuple[int, ...] = ()


def loose_ends(steps: ExecutedSteps, since: int, given: int) -> tuple[LooseEnd, ...]:
    """Those of ``steps`` from step number ``since`` on, the last first.

    Loops that were gone through once come behind the others: some loops may be.
    The first ``given`` registers are for what was entered at the end.
    """
    if len(steps) - since < 2:
        return ()
    behind = steps.behind(since)
    found = [
        *_unused(steps, behind, (1 << given) - 1),
        *_in_vain(steps, behind),
        *_loops(steps, behind),
    ]
    return tuple(sorted(found, key=lambda one: (one.kind is EndKind.ONCE, -one.step)))


def _unused(steps: ExecutedSteps, behind: dict[int, set[int]], wanted: int) -> Iterator[LooseEnd]:
    """Registers are followed along the ways that were taken; ``wanted`` are those at the end."""
    uses = {pc: steps.operands_at(pc) for pc in behind}
    live, last = _live(steps, behind, uses, wanted), _live(steps, behind, uses, _EVERY)
    for pc, use in uses.items():
        step = steps.last(pc)
        for register in use.writes:
            if register > FLAGS or live[pc] >> register & 1 or step is None:
                continue
            if last[pc] >> register & 1:
                yield LooseEnd(EndKind.PENDING, step, register)
                continue
            again = steps.writer_behind(register, step)
            if again is not None:
                yield LooseEnd(EndKind.UNUSED, step, register, (steps.pc(again),))


def _live(
    steps: ExecutedSteps,
    behind: dict[int, set[int]],
    uses: dict[int, RegisterUse],
    at_the_end: int,
) -> dict[int, int]:
    """By instruction, bits for the registers that may be used behind it."""
    before: dict[int, list[int]] = {}
    for pc, nexts in behind.items():
        for one in nexts:
            before.setdefault(one, []).append(pc)
    last = steps.pc(len(steps) - 1)
    read = {pc: _bits(use.reads) | _given(use) for pc, use in uses.items()}
    kept = {pc: _EVERY & ~_bits(use.writes) for pc, use in uses.items()}
    live = dict.fromkeys(behind, 0)
    live[last] = at_the_end
    todo = list(behind)
    while todo:
        pc = todo.pop()
        known = steps.is_known(pc)
        wanted = live[pc] & kept[pc] | read[pc] if known else _EVERY
        for one in before.get(pc, ()):
            if wanted & ~live[one]:
                live[one] |= wanted
                todo.append(one)
    return live


def _given(use: RegisterUse) -> int:
    """Arguments of a call to another level, and what that answers."""
    return (1 << ARGUMENTS) - 1 if use.effect is Effect.LEAVES else 0


def _bits(registers: frozenset[int]) -> int:
    return sum(1 << register for register in registers if register <= FLAGS)


def _in_vain(steps: ExecutedSteps, behind: dict[int, set[int]]) -> Iterator[LooseEnd]:
    for pc in behind:
        step = steps.last(pc)
        if step is not None and steps.operands_at(pc).effect is Effect.NONE:
            yield LooseEnd(EndKind.IN_VAIN, step)


def _loops(steps: ExecutedSteps, behind: dict[int, set[int]]) -> Iterator[LooseEnd]:
    for pc, nexts in behind.items():
        operands = steps.operands_at(pc)
        target, step = operands.target, steps.last(pc)
        if target is None or target >= 0 or step is None:
            continue
        if pc + target not in nexts:
            if pc + target in behind:
                yield LooseEnd(EndKind.ONCE, step, others=(pc + target,))
            continue
        inside = range(pc + target, pc + WORD, WORD)
        if len(inside) > MAX_LOOP:
            continue
        uses = {one: steps.operands_at(one) for one in inside}
        if all(use.effect in _COUNTS for use in uses.values()):
            yield LooseEnd(EndKind.IDLE, step, others=(pc + target,))
        if operands.decides:
            others = _by_what_stays(uses, pc)
            if others is not None:
                yield LooseEnd(EndKind.ENDLESS, step, others=others)


def _by_what_stays(uses: dict[int, RegisterUse], branch: int) -> tuple[int, ...] | None:
    """What has to do with the end of a loop, if nothing in it changes what that goes by.

    Who sets the flags for it, and who uses the registers.
    """
    wanted = uses[branch].reads
    sets_flags = [one for one, use in uses.items() if FLAGS in use.writes]
    if FLAGS in wanted:
        if len(sets_flags) != 1:
            return None
        wanted = uses[sets_flags[0]].reads
    if not wanted or any(use.writes & wanted for use in uses.values()):
        return None
    if any(use.effect is Effect.UNKNOWN for use in uses.values()):
        return None
    users = [one for one, use in uses.items() if use.reads & wanted and one != branch]
    return tuple(users)
