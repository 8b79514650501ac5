"""The instructions that were executed, one after the other, and who wrote what before whom.

Of a block that follows itself the first and the last time are kept: what its others have made,
these have made as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.bits import MASK64
from relokit.runtime.arch.redirection import TO_EL2
from relokit.runtime.judge.rules.register_use import SYSTEM, Effect, RegisterUse, use_of
from relokit.runtime.record.code_path import CodePath
from relokit.runtime.record.code_seen import CodeSeen

Addresses = npt.NDArray[np.uint64]
WORD = 4
LEAVES = Effect.LEAVES
_BARRIERS = frozenset({Effect.DSB, Effect.ISB, Effect.BARRIER})
MAX_STEPS = 1 << 18
"""Instructions that are followed: a trace file may say that there were more."""
MAX_TURN = 64
"""Instructions of a loop in which stores take turns."""
MAX_WALK = 1 << 12
"""Instructions of code that are walked to see whether one leads to another."""


class ExecutedSteps:
    """Those of ``path``, by numbers from 0; ``code`` has what the instructions are.

    At EL2 with ``hosts`` the names of EL1 reach registers of EL2.
    """

    def __init__(self, path: CodePath, code: CodeSeen, instructions: int, *, hosts: bool) -> None:
        self._code, self._hosts = code, hosts
        self.pcs, self.begun = _flat(path, instructions)
        self._past: dict[tuple[int, int], bool] = {}

    def __len__(self) -> int:
        return len(self.pcs)

    def pc(self, step: int) -> int:
        """VA of the instruction."""
        return int(self.pcs[step])

    def operands(self, step: int) -> RegisterUse:
        """What the instruction reads and writes."""
        return self.operands_at(self.pc(step))

    def operands_at(self, pc: int) -> RegisterUse:
        """What the one at VA ``pc`` reads and writes; nothing where it is not known."""
        word = self._code.word(pc)
        return RegisterUse() if word is None else use_of(word)

    def is_known(self, pc: int) -> bool:
        """Whether it is known what the instruction at VA ``pc`` is."""
        return self._code.word(pc) is not None

    def addresses(self) -> Iterable[int]:
        """VAs of all instructions that were executed."""
        return self._positions.keys()

    def last(self, pc: int, before: int | None = None) -> int | None:
        """The last step at VA ``pc``, of those before step number ``before``."""
        found = self._positions.get(pc)
        if found is None:
            return None
        count = len(found) if before is None else int(np.searchsorted(found, before))
        return int(found[count - 1]) if count else None

    def next(self, pc: int, behind: int) -> int | None:
        """The first step at VA ``pc`` behind step number ``behind``."""
        found = self._positions.get(pc)
        at = 0 if found is None else int(np.searchsorted(found, behind, side="right"))
        return None if found is None or at == len(found) else int(found[at])

    def at(self, begun: int) -> int:
        """The number of the first step that was begun after ``begun`` others."""
        return int(np.searchsorted(self.begun, begun))

    def first_below(self, va: int) -> int:
        """The first step at a VA below ``va`` behind one that is not; 0 if there is none."""
        below = self.pcs < np.uint64(va)
        came = np.flatnonzero(below[1:] & ~below[:-1])
        return int(came[0]) + 1 if len(came) else 0

    def writer(self, number: int, before: int) -> int | None:
        """The last step before step ``before`` that has written register ``number``."""
        steps = (self.last(pc, before) for pc in self._writers.get(self.canonical(number), ()))
        return max((step for step in steps if step is not None), default=None)

    def writer_behind(self, number: int, step: int) -> int | None:
        """The first step behind step ``step`` that writes register ``number``."""
        steps = (self.next(pc, step) for pc in self._writers.get(self.canonical(number), ()))
        return min((one for one in steps if one is not None), default=None)

    def reader_behind(self, number: int, step: int) -> int | None:
        """The first step behind step ``step`` that reads register ``number``."""
        steps = (self.next(pc, step) for pc in self._readers.get(self.canonical(number), ()))
        return min((one for one in steps if one is not None), default=None)

    def behind(self, since: int) -> dict[int, set[int]]:
        """By VA of each instruction from step ``since`` on, what came directly behind it."""
        pcs = self.pcs[since:]
        pairs = np.unique(np.stack([pcs[:-1], pcs[1:]], axis=1), axis=0)
        found: dict[int, set[int]] = {pc: set() for pc in np.unique(pcs).tolist()}
        for pc, after in pairs.tolist():
            found[pc].add(after)
        return found

    def canonical(self, number: int) -> int:
        """The number of the register that one by ``number`` reaches."""
        if number & SYSTEM and self._hosts:
            return SYSTEM | TO_EL2.get(number ^ SYSTEM, number ^ SYSTEM)
        return number

    def decider(self, step: int) -> int | None:
        """The branch that decided last that ``step`` is come to, and might not have been."""
        wanted = self.pc(step)
        for at in range(step - 1, max(step - MAX_WALK, -1), -1):
            pc = self.pc(at)
            operands = self.operands_at(pc)
            if not operands.decides or operands.target is None or at + 1 >= len(self):
                continue
            taken, went = pc + operands.target, self.pc(at + 1)
            other = pc + WORD if went == taken else taken
            if self._leads_past(wanted, other):
                return at
        return None

    def taken(self, step: int) -> int | None:
        """The last branch before ``step`` that was taken, if it can be no other way."""
        for at in range(step - 1, max(step - MAX_TURN, -1), -1):
            if self.pc(at) + WORD != self.pc(at + 1):
                operands = self.operands_at(self.pc(at))
                return at if operands.target is not None and not operands.decides else None
        return None

    def leaves(self, step: int) -> bool:
        """Whether it goes on behind ``step`` where a register says."""
        use = self.operands(step)
        return use.effect is Effect.BRANCH and use.target is None

    def first_of_run(self, pc: int) -> int:
        """The step at VA ``pc`` from which on there is nothing else to the end; or the end."""
        at = len(self)
        while at and self.pc(at - 1) == pc:
            at -= 1
        return at

    def fallen_from(self, step: int) -> int | None:
        """The last step before ``step`` that did anything, if only NOPs are between; else None."""
        at = step - 1
        while at > 0 and self.operands(at).effect is Effect.HINT:
            if self.pc(at) + WORD != self.pc(at + 1):
                return None
            at -= 1
        between = step - 1 - at
        return at if between and at >= 0 and self.pc(at) + WORD == self.pc(at + 1) else None

    def barrier_behind(self, pc: int) -> int | None:
        """The first barrier behind the last time of the instruction at VA ``pc``, close by."""
        last = self.last(pc)
        for at in range(last + 1, min(last + MAX_TURN, len(self))) if last is not None else ():
            if self.operands(at).effect in _BARRIERS:
                return at
        return None

    def repeater(self, step: int) -> int | None:
        """The branch that had the loop around ``step`` go on or end, of the innermost one.

        A branch is in the loop that it makes for none but itself: its loop is the next one.
        """
        wanted = self.pc(step)
        found: tuple[int, int] | None = None
        for pc in self._positions:
            target = self.operands_at(pc).target
            if target is not None and pc + target <= wanted < pc:
                found = min(found or (-target, pc), (-target, pc))
        return None if found is None else self.last(found[1])

    def goes_on_by(self, pc: int) -> tuple[int, tuple[int, ...]] | None:
        """Who moves on the address of the instruction at VA ``pc`` in its loop, and the registers
        that it does that by; None where nothing does.
        """
        last = self.last(pc)
        again = None if last is None else self.repeater(last)
        if again is None:
            return None
        address, end = self.operands_at(pc).address, self.pc(again)
        start = end + (self.operands_at(end).target or 0)
        for by in range(start, min(end, start + WORD * MAX_TURN), WORD):
            operands = self.operands_at(by)
            if operands.writes & address:
                return by, tuple(sorted(operands.reads - address))
        return None

    def stores_in_turn(self, pc: int, begun: int) -> list[int]:
        """The store at VA ``pc``, and those behind it until it comes again, by the same base."""
        found, base = [pc], self.operands_at(pc).address
        start = next(
            (int(at) for at in self._positions.get(pc, ()) if self.begun[at] >= begun), None
        )
        for at in range(start + 1, min(start + MAX_TURN, len(self))) if start is not None else ():
            again = self.pc(at)
            if again == pc:
                return found
            operands = self.operands_at(again)
            if operands.stores and operands.address == base:
                found.append(again)
        return [pc]

    def choices(self, since: int) -> Iterator[tuple[int, bool]]:
        """Branches with a condition, from step ``since`` on, the last first, and whether they
        always went the same way. What came behind the last call is the way out.
        """
        found = []
        left = (self.last(pc) for pc in self._positions if self.operands_at(pc).effect is LEAVES)
        out = max((step for step in left if step and step >= since), default=len(self))
        for pc, positions in self._positions.items():
            here = positions[(positions >= since) & (positions + 1 < len(self))]
            if self.operands_at(pc).decides and len(here) and here[0] < out:
                behind = self.pcs[here + 1]
                found.append((int(here[-1]), bool((behind == behind[0]).all())))
        return iter(sorted(found, reverse=True))

    def _leads_past(self, wanted: int, start: int) -> bool:
        """Whether a way from ``start`` leads to the end, or to what was not executed, and not by
        ``wanted``: the end of a loop decides nothing of what comes behind it.
        """
        known = self._past.get((wanted, start))
        if known is None:
            known = self._past[wanted, start] = self._walked_past(wanted, start)
        return known

    def _walked_past(self, wanted: int, start: int) -> bool:
        end = self.pc(len(self) - 1)
        seen, todo = {wanted}, [start]
        while todo and len(seen) < MAX_WALK:
            pc = todo.pop()
            if pc in seen:
                continue
            if pc == end or self._code.word(pc) is None:
                return True
            seen.add(pc)
            todo += self._behind(pc)
        return False

    def _behind(self, pc: int) -> Iterator[int]:
        operands = self.operands_at(pc)
        if operands.target is not None:
            yield pc + operands.target
        if not operands.ends:
            yield pc + WORD
        elif operands.target is None:
            yield from self._followed.get(pc, ())

    @cached_property
    def _positions(self) -> dict[int, npt.NDArray[np.int64]]:
        order = np.argsort(self.pcs, kind="stable")
        pcs, first = np.unique(self.pcs[order], return_index=True)
        if not len(pcs):
            return {}
        return dict(zip(pcs.tolist(), np.split(order, first[1:]), strict=True))

    @cached_property
    def _writers(self) -> dict[int, list[int]]:
        """By register, the instructions that write it."""
        return self._by_register(lambda use: use.writes)

    @cached_property
    def _readers(self) -> dict[int, list[int]]:
        """By register, the instructions that read it."""
        return self._by_register(lambda use: use.reads)

    def _by_register(self, which: Callable[[RegisterUse], frozenset[int]]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for pc in self._positions:
            for number in which(self.operands_at(pc)):
                found.setdefault(self.canonical(number), []).append(pc)
        return found

    @cached_property
    def _followed(self) -> dict[int, set[int]]:
        """What came behind branches to registers, calls and returns."""
        found: dict[int, set[int]] = {}
        for pc, positions in self._positions.items():
            operands = self.operands_at(pc)
            if operands.ends and operands.target is None:
                behind = positions[positions + 1 < len(self)] + 1
                found[pc] = set(self.pcs[behind].tolist())
        return found


def _flat(path: CodePath, instructions: int) -> tuple[Addresses, Addresses]:
    """Of each step the VA, and how many were begun before it."""
    rows = path.rows()
    before, length = rows["before"].astype(np.int64), rows["length"].astype(np.int64)
    ends = np.append(before[1:], instructions)
    # Where blocks are left out, the last one before has no end that is known.
    total = np.clip(ends - before, 0, length * rows["times"])
    pcs: list[npt.NDArray[np.uint64]] = []
    begun: list[npt.NDArray[np.uint64]] = []
    room = MAX_STEPS
    for pc, start, one, all_of_them in zip(
        rows["pc"].tolist()[::-1],
        before.tolist()[::-1],
        length.tolist()[::-1],
        total.tolist()[::-1],
        strict=True,
    ):
        first = min(one, all_of_them)
        last = (all_of_them - 1) % one + 1 if all_of_them > one else 0
        room -= first + last
        if room < 0:
            break
        for count, offset in ((last, all_of_them - last), (first, 0)):
            if count:
                steps = np.arange(count, dtype=np.uint64)
                pcs.append(np.uint64(pc) + steps * np.uint64(WORD))
                # A file may say that more were begun than there is a number for.
                begun.append(np.uint64(start + offset & MASK64) + steps)
    if not pcs:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    return np.concatenate(pcs[::-1]), np.concatenate(begun[::-1])
