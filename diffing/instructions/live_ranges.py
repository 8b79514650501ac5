"""Live ranges: which operands of a routine name one value, and which values may share a register.

A register that is written anew holds another value: it may be called something else on the other
side from there on. What crosses the routine's border may not: the values it gets, those it leaves
in a register without reading them, and what a call may have changed (AAPCS64, 6.1.1). All such
values of one register are one range, its *outer* one, and outer ranges are renamed one to one.

Only general registers are followed; vector and predicate registers have outer ranges alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from enum import IntFlag
from functools import lru_cache
from itertools import combinations, pairwise

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import (
    ADR,
    B_COND,
    BL,
    COMPARE_BRANCH,
    EXCEPTION,
    HINT,
    REGISTER_BRANCH,
    TEST_BRANCH,
    B,
)
from relokit.diffing.instructions.decode import Instruction
from relokit.diffing.instructions.normalise import BLANK, Key, Register

CALL_CLOBBERS = range(19)
"""x0 to x18 do not survive a call; x30 is never renamed."""
GENERAL = "r"
MAX_TAKEN = 64
"""Addresses of its own that a routine takes; hand-written code has a few, a compiler's none."""
MAX_FOLLOWED = 1 << 14
"""Instructions of a routine whose values are followed; in a longer one, registers are renamed."""


class Use(IntFlag):
    """What an instruction does to an operand's register."""

    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Ranges:
    """``operands[i]`` are the ranges that instruction i's registers belong to, in order.

    ``register`` has each range's register, ``meets`` the ranges that hold a value at the same time
    as it does, ``outer`` those that cross the routine's border, ``across`` those that live on
    across a call, ``called`` those that a call may change. ``unread`` are registers that get a
    value which nothing in the routine reads.
    """

    operands: tuple[tuple[int, ...], ...]
    register: Mapping[int, Register]
    meets: Mapping[int, Set[int]]
    outer: Set[int]
    across: Set[int]
    called: Set[int]
    unread: Set[Register]

    def apart(self, one: int, other: int) -> bool:
        """Whether the two ranges may not share a register."""
        both_outer = one in self.outer and other in self.outer
        return one != other and (both_outer or other in self.meets.get(one, ()))

    def fits(self, one: int, register: Register) -> bool:
        """Whether calls do to ``register`` what they do to the one that has range ``one``."""
        kept = register[1] not in CALL_CLOBBERS
        return (kept or one not in self.across) and not (kept and one in self.called)


READ, WRITE, CHANGE = Use.READ, Use.WRITE, Use.READ | Use.WRITE
LEADING: tuple[tuple[re.Pattern[str], tuple[Use, ...]], ...] = (
    # Exclusive stores write a status; other stores read all they name.
    (re.compile(r"stl?x[rp]"), (WRITE,)),
    (re.compile(r"st"), ()),
    # Compares, branches, hints and maintenance with an argument.
    (re.compile(r"cm[np]|tst|ccm|b$|bc?\.|br|bl|ret|eret|cb|tb|prf|rprf|wf|setf|rmif"), ()),
    (re.compile(r"msr|(?:sys|dc|ic|at|tlbi|cfp|cpp|dvp)$"), ()),
    # Atomic memory operations: what is stored, then what was there.
    (re.compile(r"casp"), (CHANGE, CHANGE)),
    (re.compile(r"cas"), (CHANGE,)),
    (re.compile(r"(?:ld(?:add|clr|eor|set|[su]max|[su]min)|swp|rcw)"), (READ, WRITE)),
    (re.compile(r"ldn?p|ldpsw|lda?xp|ldiapp"), (WRITE, WRITE)),
    # A part of the register is kept, or its signature is put in.
    (re.compile(r"movk|bfi|bfc|bfm|bfxil|pac|aut|xpac|ldg$"), (CHANGE,)),
    # Memory copy and set: addresses and sizes count on.
    (re.compile(r"cpy|set[gpme]"), (CHANGE, CHANGE, CHANGE)),
    (re.compile(r""), (WRITE,)),
)
"""By mnemonic: what is done to the first operands; all others are read (DDI 0487, C6.2)."""


_OPERAND = re.compile(rf"(?P<blank>{BLANK.pattern})|\b(?:[xw](?:30|zr)|w?sp)\b")
"""Registers in a form: those with a blank, and those that are never renamed."""


@lru_cache(maxsize=1 << 14)
def uses(form: str) -> tuple[Use, ...]:
    """What an instruction does to each register in ``form``, its text with blanks for numbers."""
    mnemonic, _, operands = form.partition(" ")
    leading = next(roles for pattern, roles in LEADING if pattern.match(mnemonic))
    if operands.startswith("{"):
        leading = ()  # a list of vectors: its general registers are indices and addresses
    written_back = operands.find("[") + 1 if "]!" in operands or "], " in operands else -1
    result = []
    for number, match in enumerate(_OPERAND.finditer(operands)):
        use = leading[number] if number < len(leading) else READ
        if match.start() == written_back:
            use = CHANGE
        if match["blank"]:
            result.append(use)
    return tuple(result)


def live_ranges(code: Sequence[Instruction], keys: Sequence[Key]) -> Ranges:
    """The ranges of a routine; ``keys`` are its instructions' keys."""
    if len(code) > MAX_FOLLOWED or len(_taken(code)) > MAX_TAKEN:
        return _all_outer(keys)
    return _Analysis(code, keys).ranges()


def _all_outer(keys: Sequence[Key]) -> Ranges:
    """One range a register."""
    number: dict[Register, int] = {}
    operands = tuple(
        tuple(number.setdefault(register, len(number)) for register in key.registers)
        for key in keys
    )
    register = {one: own for own, one in number.items()}
    return Ranges(operands, register, {}, register.keys(), frozenset(), frozenset(), {*number})


@dataclass(slots=True)
class _Block:
    """Instructions ``first`` up to ``last``; registers as bit masks."""

    first: int
    last: int
    following: list[int]
    reads: int = 0
    writes: int = 0
    live_in: int = 0
    live_out: int = 0


class _Analysis:
    def __init__(self, code: Sequence[Instruction], keys: Sequence[Key]) -> None:
        self._code, self._keys = code, keys
        self._parent: list[int] = []
        self._register: list[Register] = []
        self._read: set[int] = set()
        self._outer: dict[Register, int] = {}
        self._meets: list[tuple[int, int]] = []
        self._across: set[int] = set()
        self._called: set[int] = set()
        self._operands: list[list[int]] = []
        self._calls = [_is_call(one) for one in code]

    def ranges(self) -> Ranges:
        blocks = _blocks(self._code)
        for block in blocks:
            self._summarise(block)
        _spread(blocks)
        self._name(blocks)
        nodes = {self._find(node) for operands in self._operands for node in operands}
        dead = nodes - {self._find(node) for node in self._read}
        for root in sorted(dead):
            self._join(root, self._outer_range(self._register[root]))
        meets: dict[int, set[int]] = defaultdict(set)
        for pair in self._meets:
            one, other = map(self._find, pair)
            meets[one].add(other)
            meets[other].add(one)
        operands = tuple(tuple(map(self._find, one)) for one in self._operands)
        used = {root for one in operands for root in one}
        return Ranges(
            operands,
            {root: self._register[root] for root in used},
            meets,
            {self._find(node) for node in self._outer.values()},
            {self._find(node) for node in self._across},
            {self._find(node) for node in self._called},
            {self._register[node] for node in dead},
        )

    def _uses(self, index: int) -> Iterator[tuple[Register, Use]]:
        key = self._keys[index]
        return zip(key.registers, uses(key.form), strict=True)

    def _summarise(self, block: _Block) -> None:
        for index in range(block.first, block.last):
            for (bank, number), use in self._uses(index):
                if bank == GENERAL and use & Use.READ and not block.writes >> number & 1:
                    block.reads |= 1 << number
            block.writes |= self._written(index)

    def _written(self, index: int) -> int:
        mask = _CALLED if self._calls[index] else 0
        for (bank, number), use in self._uses(index):
            if bank == GENERAL and use & Use.WRITE:
                mask |= 1 << number
        return mask

    def _name(self, blocks: Sequence[_Block]) -> None:
        """Give every operand its value, and join values that meet where blocks do."""
        at_start = [
            {number: self._node((GENERAL, number)) for number in _bits(block.live_in)}
            for block in blocks
        ]
        for number, node in at_start[0].items() if blocks else ():
            self._join(node, self._outer_range((GENERAL, number)))
        for block, start in zip(blocks, at_start, strict=True):
            now = dict(start)
            live_after = self._live_after(block)
            for index in range(block.first, block.last):
                self._step(index, now, live_after[index - block.first])
            for following in block.following:
                for number, node in at_start[following].items():
                    self._join(node, now[number])

    def _live_after(self, block: _Block) -> list[int]:
        live, result = block.live_out, []
        for index in range(block.last - 1, block.first - 1, -1):
            result.append(live)
            live &= ~self._written(index)
            for (bank, number), use in self._uses(index):
                if bank == GENERAL and use & Use.READ:
                    live |= 1 << number
        return result[::-1]

    def _step(self, index: int, now: dict[int, int], live: int) -> None:
        operands: list[int] = []
        written: list[int] = []
        for register, use in self._uses(index):
            bank, number = register
            if bank != GENERAL:
                operands.append(self._outer_range(register))
                continue
            if use & Use.READ:
                operands.append(now[number])
                self._read.add(now[number])
            else:
                operands.append(self._node(register))
            if use & Use.WRITE:
                written.append(operands[-1])
        for node in written:
            now[self._register[node][1]] = node
        if self._calls[index]:
            changed = {number: self._outer_range((GENERAL, number)) for number in CALL_CLOBBERS}
            now |= changed
            self._called.update(changed.values())
            self._across.update(now[number] for number in _bits(live & ~_CALLED))
        # A value that is written meets all those that are still needed.
        needed = [now[number] for number in _bits(live)]
        self._meets += combinations(written, 2)
        self._meets += [(node, other) for node in written for other in needed if node != other]
        self._operands.append(operands)

    def _node(self, register: Register) -> int:
        self._parent.append(len(self._parent))
        self._register.append(register)
        return len(self._parent) - 1

    def _outer_range(self, register: Register) -> int:
        if register not in self._outer:
            self._outer[register] = self._node(register)
            self._read.add(self._outer[register])
        return self._outer[register]

    def _find(self, node: int) -> int:
        parent = self._parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def _join(self, one: int, other: int) -> None:
        one, other = self._find(one), self._find(other)
        self._parent[max(one, other)] = min(one, other)


_CALLED = sum(1 << number for number in CALL_CLOBBERS)

_BLR = frozenset({0b0001, 0b1001})
"""opc of BLR and BLRAA among the branches to a register."""
_IMPLICIT = frozenset({8, 10, 12, 14, 40})
"""PACIA1716 and its kin, CHKFEAT: hints that use x16 and x17 without naming them (C6.2)."""


def _is_call(one: Instruction) -> bool:
    word = one.word
    if one.mnemonic.startswith("."):  # data
        return False
    if HINT.holds(word) and (word >> 5 & 0x7F) in _IMPLICIT:
        return True
    # SVC, HVC, SMC: whoever answers may change what a call may.
    if BL.holds(word) or EXCEPTION.holds(word):
        return True
    return REGISTER_BRANCH.holds(word) and (word >> 21 & 15) in _BLR


def _leads(one: Instruction) -> tuple[bool, bool, bool]:
    """Whether it ends a block, may go on to the next instruction, may go anywhere."""
    word = one.word
    if one.mnemonic.startswith("."):
        return False, True, False
    if B.holds(word):
        return True, False, False
    if any(form.holds(word) for form in (B_COND, COMPARE_BRANCH, TEST_BRANCH)):
        return True, True, False
    if REGISTER_BRANCH.holds(word) and not _is_call(one):
        return True, False, True
    return False, True, False


def _taken(code: Sequence[Instruction]) -> list[int]:
    """Places in itself that a routine takes the address of: it may branch there by register."""
    return sorted({one.target for one in code if one.target is not None and ADR.holds(one.word)})


def _blocks(code: Sequence[Instruction]) -> list[_Block]:
    """Runs of instructions that are executed as a whole, the first one being the entry."""
    leads = [_leads(one) for one in code]
    taken = _taken(code)
    starts = {0, *taken}
    for index, (one, (ends, _, _)) in enumerate(zip(code, leads, strict=True)):
        if ends:
            starts.add(index + 1)
            if one.target is not None:
                starts.add(one.target)
    bounds = sorted(start for start in starts if start < len(code))
    number = {start: index for index, start in enumerate(bounds)}
    blocks = []
    for first, last in pairwise((*bounds, len(code))):
        ends, goes_on, anywhere = leads[last - 1]
        following = [*taken] if anywhere else []
        if goes_on:
            following.append(last)
        target = code[last - 1].target
        if ends and target is not None:
            following.append(target)
        blocks.append(_Block(first, last, sorted({number[to] for to in following if to in number})))
    return blocks


def _spread(blocks: Sequence[_Block]) -> None:
    """Find the registers that are needed at the start and the end of each block."""
    before: list[list[int]] = [[] for _ in blocks]
    for index, block in enumerate(blocks):
        for following in block.following:
            before[following].append(index)
    work = list(range(len(blocks)))
    waiting = set(work)
    while work:
        index = work.pop()
        waiting.discard(index)
        block = blocks[index]
        for following in block.following:
            block.live_out |= blocks[following].live_in
        live_in = block.reads | block.live_out & ~block.writes
        if live_in != block.live_in:
            block.live_in = live_in
            new = [one for one in before[index] if one not in waiting]
            work += new
            waiting.update(new)


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
