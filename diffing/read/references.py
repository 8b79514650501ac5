"""What places machine code refers to, all of it at once: as arrays, no word by itself in Python.

The rules are those of diffing/instructions/decode.py. Encodings: ARM DDI 0487, C4.1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relokit.codegen.instruction_forms import (
    ADD,
    ADR,
    ADR_FIELD,
    ADRP,
    LITERAL,
    RELATIVE,
    UNSIGNED_OFFSET,
    WITHIN_PAGE,
)

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]

_LOW_FIELD = 0x003FFC00
# Branches, exceptions and System instructions, by bits 28:26.
_BRANCHES_MASK, _BRANCHES = 0x1C000000, 0x14000000


def data_references(code: bytes | memoryview, address: int) -> list[int]:
    """VAs that ``code``, at VA ``address``, takes: by ADR, ADRP with its low half, literal loads.

    All of it is taken for one function.
    """
    words = np.frombuffer(memoryview(code)[: len(code) & ~3], "<u4").astype(np.uint32)
    if not len(words):
        return []
    base = address & ~WITHIN_PAGE
    one = np.zeros(1, np.int64)
    reader = TextReader(words, one + (address - base), one, one + len(words), 0)
    reader.read()
    return [base + target for target in np.unique(reader.target[reader.takes()]).tolist()]


def pointer_targets(content: bytes | memoryview, base: int) -> Ints:
    """Offsets whose addresses are in ``content``, linked at VA ``base``, by 64 bits."""
    values = np.frombuffer(content, "<u8", len(content) // 8)
    offsets = values - np.uint64(base & (1 << 64) - 1)
    found: Ints = offsets[(offsets < np.uint64(len(content))) & (values != 0)].astype(np.int64)
    return found


def branch_references(code: bytes | memoryview, address: int) -> list[int]:
    """VAs that branches in ``code``, at VA ``address``, lead to; what is data may add some."""
    words = np.frombuffer(memoryview(code)[: len(code) & ~3], "<u4").astype(np.uint32)
    found = [
        4 * (at + _field(words[at], low, width))
        for mask, form, low, width in RELATIVE
        if (mask, form) != LITERAL
        for at in (np.flatnonzero((words & np.uint32(mask)) == form),)
    ]
    return [address + distance for distance in np.unique(np.concatenate(found)).tolist()]


def accessed_bytes(words: Words) -> Ints:
    """How many bytes a load or store with the low half of an address accesses, or a literal load;
    0 for what only takes an address.
    """
    literal = (words & np.uint32(LITERAL.mask)) == LITERAL.value
    access = (words & np.uint32(UNSIGNED_OFFSET.mask)) == UNSIGNED_OFFSET.value
    vector = words >> np.uint32(26) & np.uint32(1)
    loaded = np.array([[4, 8, 4, 0], [4, 8, 16, 0]])[vector, words >> np.uint32(30)]
    found: Ints = np.where(literal, loaded, np.where(access, 1 << _scale(words), 0))
    return found


def spans(starts: Ints, lengths: Ints) -> Ints:
    """The numbers from each start on, as many as its length, one range after the other."""
    firsts = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    return np.repeat(starts - firsts, lengths) + np.arange(total, dtype=np.int64)


class TextReader:
    """Takes words apart. ``target`` holds, where ``refers``, byte offsets in the Image."""

    def __init__(
        self, words: Words, offsets: Ints, starts: Ints, lengths: Ints, low_base: int
    ) -> None:
        self._words = words
        self._low_base = low_base
        self.owner = np.repeat(np.arange(len(starts), dtype=np.int32), lengths)
        """Number of the function that a word is in."""
        self.pc: Ints = np.repeat(offsets - 4 * starts, lengths) + 4 * np.arange(len(words))
        self._first, self._last = offsets, offsets + 4 * lengths
        self._ends = starts + lengths
        self.masked = words.copy()
        self.refers: Flags = np.zeros(len(words), np.bool_)
        self.target: Ints = np.zeros(len(words), np.int64)
        self.literal: Flags = np.zeros(len(words), np.bool_)
        self.by_page: Flags = np.zeros(len(words), np.bool_)
        """The word is an ADRP or completes one: never a place inside, always one by name."""
        self.completed: Flags = np.zeros(len(words), np.bool_)
        """The word is an ADRP of which it is known where in the page it leads."""

    def read(self) -> None:
        """Fill in everything."""
        self._find_literals()
        for form in RELATIVE:
            self._relative(*form)
        pages = self._addresses()
        self._complete(pages)

    def takes(self) -> Ints:
        """The words that take or access a place, all of which is in them.

        No branch; and no ADRP, of which only what completes it knows the place.
        """
        at = np.flatnonzero(self.refers)
        words = self._words[at]
        branch = (words & np.uint32(_BRANCHES_MASK)) == _BRANCHES
        page = (words & np.uint32(ADRP.mask)) == ADRP.value
        found: Ints = at[~branch & ~page]
        return found

    def takes_something(self, at: Ints) -> Flags:
        """Which of the words ``at`` take a place, or the page of one that is known."""
        words = self._words[at]
        branch = (words & np.uint32(_BRANCHES_MASK)) == _BRANCHES
        page = (words & np.uint32(ADRP.mask)) == ADRP.value
        found: Flags = ~branch & ~(page & ~self.completed[at])
        return found

    def within(self) -> Ints:
        """The words that refer to a place in their own function."""
        at = np.flatnonzero(self.refers)
        owner, target = self.owner[at], self.target[at]
        return at[(target >= self._first[owner]) & (target < self._last[owner])]

    def _relative(self, mask: int, form: int, low: int, width: int) -> None:
        at = np.flatnonzero(((self._words & np.uint32(mask)) == form) & ~self.literal)
        self.target[at] = self.pc[at] + 4 * _field(self._words[at], low, width)
        self.refers[at] = True
        self.masked[at] &= np.uint32(~(((1 << width) - 1) << low) & 0xFFFFFFFF)

    def _addresses(self) -> Ints:
        """ADR and ADRP; returns where ADRPs are."""
        found = []
        for form in (ADR, ADRP):
            at = np.flatnonzero(
                ((self._words & np.uint32(form.mask)) == form.value) & ~self.literal
            )
            words = self._words[at]
            value = _field(words, 5, 19) << 2 | (words >> np.uint32(29) & np.uint32(3))
            if form == ADRP:
                page = (self.pc[at] + self._low_base & ~WITHIN_PAGE) - self._low_base
                self.target[at] = page + (value << 12)
                self.by_page[at] = True
            else:
                self.target[at] = self.pc[at] + value
            self.refers[at] = True
            self.masked[at] &= np.uint32(~ADR_FIELD & 0xFFFFFFFF)
            found.append(at)
        return found[1]

    def _find_literals(self) -> None:
        """Mark what literal loads load, unless they are themselves such data."""
        words = self._words
        loads = np.flatnonzero((words & np.uint32(LITERAL.mask)) == LITERAL.value)
        loads = loads[words[loads] >> np.uint32(30) != 3]
        for _ in range(2):
            chosen = loads[~self.literal[loads]]
            self.literal[:] = False
            what = words[chosen]
            ahead = _field(what, 5, 19)
            vector = what >> np.uint32(26) & np.uint32(1)
            # opc: 32, 64, 128 bits of a vector register; 32, 64, signed 32 of a general one.
            wide = np.array([[1, 2, 1], [1, 2, 4]])[vector, what >> np.uint32(30)]
            ends = self._ends[self.owner[chosen]]
            for word in range(4):
                to = chosen + ahead + word
                self.literal[to[(ahead > 0) & (word < wide) & (to < ends)]] = True

    def _complete(self, pages: Ints) -> None:
        """Follow each ADRP's register to the instructions that add the low 12 bits.

        Up to a branch, a place that is branched to, the register's end or the function's.
        """
        words = self._words
        entered = np.zeros(len(words), np.bool_)
        near = self.within()
        entered[near + (self.target[near] - self.pc[near] >> 2)] = True
        # Rows: the ADRP's number, its register, its page, the word looked at, the function's end.
        live = np.stack(
            [pages, words[pages] & 31, self.target[pages], pages + 1, self._ends[self.owner[pages]]]
        )
        while live.shape[1]:
            live = live[:, live[3] < live[4]]
            live = live[:, ~entered[live[3]]]
            adrp, register, page, at, _ = live
            word, code = words[at], ~self.literal[at]
            add = (word & np.uint32(ADD.mask)) == ADD.value
            access = (word & np.uint32(UNSIGNED_OFFSET.mask)) == UNSIGNED_OFFSET.value
            uses = (add | access) & code & ((word >> np.uint32(5) & np.uint32(31)) == register)
            users, used = at[uses], word[uses]
            whole = page[uses] + (_field_unsigned(used) << _scale(used))
            self.target[users] = self.target[adrp[uses]] = whole
            self.completed[adrp[uses]] = True
            self.refers[users] = self.by_page[users] = True
            self.masked[users] &= np.uint32(~_LOW_FIELD & 0xFFFFFFFF)
            branch = (word & np.uint32(_BRANCHES_MASK)) == _BRANCHES
            live = live[:, ~(code & (branch | ((word & np.uint32(31)) == register)))]
            live[3] += 1


def _field(words: Words, low: int, width: int) -> Ints:
    """A signed field of each word."""
    value: Ints = words.astype(np.int64) >> low & (1 << width) - 1
    return value - ((value >> width - 1) << width)


def _field_unsigned(words: Words) -> Ints:
    return words.astype(np.int64) >> 10 & WITHIN_PAGE


def _scale(words: Words) -> Ints:
    """By what the 12 bits of ADD, or of a load or store, are shifted."""
    scale = words.astype(np.int64) >> 30
    wide = (words >> np.uint32(26) & words >> np.uint32(23) & np.uint32(1)) != 0
    scale = np.where(wide, 4, scale)  # 128-bit: size 0, opc<1> set
    return np.where((words & np.uint32(ADD.mask)) == ADD.value, 0, scale)
