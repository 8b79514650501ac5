"""All machine code of one kernel as arrays: what each word is, and what place it refers to.

The rules are those of diffing/instructions/decode.py, over the whole text at once: fields that are
relative to the PC are taken out of the words, and so are the low 12 bits that complete an ADRP.
Encodings: ARM DDI 0487, C4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import (
    ADD,
    ADR,
    ADR_FIELD,
    ADRP,
    LITERAL,
    NOP,
    RELATIVE,
    UNSIGNED_OFFSET,
    WITHIN_PAGE,
)
from relokit.diffing.kernels.whole_source import read_program
from relokit.diffing.read.routine import MAX_ROUTINE, DiffError, Names
from relokit.diffing.routines.classify import WEIGHT, ChangeKind, kinds_of_words
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.opened import Files

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]

MAX_CODE = 64 << 20
"""Bytes of code of one kernel that are compared; shipped ones have 18 MiB."""
FUNCTION_LETTERS = b"tTwW"
"""What kallsyms calls code, as nm does."""


_LOW_FIELD = 0x003FFC00
# Branches, exceptions and System instructions, by bits 28:26.
_BRANCHES_MASK, _BRANCHES = 0x1C000000, 0x14000000


class Reference(IntEnum):
    """What a word refers to; the byte above the value in ``KernelText.places``."""

    NONE = 0
    INSIDE = 1
    """A place in the function itself; the value is the distance in words."""
    LITERAL = 2
    """The word is data that a literal load in the function loads."""
    FUNCTION = 3
    """A place in a function: its name's number and the distance from there."""
    DATA = 4
    """Another place near a symbol: likewise."""
    NAMELESS = 5
    """A place that no symbol is near; the value is its distance from the function's start."""


TAG_SHIFT = 56
_NAME_SHIFT = 24
"""The distance from a symbol, below, is at most Names.reach."""
_BIAS = 1 << 48
"""Makes a signed distance positive."""


class Numbers:
    """A number for each name, the same in both kernels."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, names: Sequence[str]) -> Ints:
        """The numbers of ``names``."""
        numbers = self._numbers
        return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


@dataclass(frozen=True, slots=True)
class KernelText:
    """The functions of a kernel, ascending, and their words one function after the other.

    Function i is called ``names[i]``, has all the names ``aliases[i]``, and is words ``starts[i]``
    up to ``starts[i] + lengths[i]``, the nops and zeros at its end left out. ``words`` have no
    fields that refer to a place; ``places`` say what they refer to.
    ``skipped`` are names of code that is no function: too large, or not whole words.
    """

    path: str
    names: tuple[str, ...] = field(repr=False)
    aliases: tuple[tuple[str, ...], ...] = field(repr=False)
    starts: Ints = field(repr=False)
    lengths: Ints = field(repr=False)
    words: Words = field(repr=False)
    places: Ints = field(repr=False)
    raw: Words = field(repr=False)
    """The words as they are in the Image."""
    skipped: tuple[str, ...] = ()

    def kinds_of(self, words: Ints) -> npt.NDArray[np.uint8]:
        """What the words with these numbers are about, each as its kind's place in WEIGHT."""
        kinds = kinds_of_words(self.raw[words])
        kinds[self.places[words] >> TAG_SHIFT == Reference.LITERAL] = WEIGHT.index(ChangeKind.DATA)
        return kinds


def read_text(path: str, numbers: Numbers, files: Files) -> KernelText:
    """Read the program at ``path``; raises FormatError, and DiffError where it has no functions."""
    content, symbols = read_program(path, files)
    table = _symbol_table(symbols, numbers)
    image = np.frombuffer(content[: len(content) & ~3], "<u4")
    ends = np.minimum(np.append(table.offsets[1:], table.offsets[-1]), 4 * len(image))
    sizes = ends - table.offsets
    code = table.code & (sizes > 0)
    whole = code & (table.offsets % 4 == 0) & (sizes >= 4) & (sizes <= MAX_ROUTINE)
    chosen = np.flatnonzero(whole)
    offsets, sizes = table.offsets[chosen], sizes[chosen] & ~3
    if not len(chosen):
        raise DiffError("kallsyms names no function in this kernel", where=path)
    if sizes.sum() > MAX_CODE:
        raise DiffError(
            f"{sizes.sum()} bytes of code, more than the {MAX_CODE} compared",
            where=path,
            hint="compare it routine by routine: KERNEL:symbol",
        )
    lengths = sizes // 4
    starts = np.cumsum(lengths) - lengths
    words = image[spans(offsets // 4, lengths)].astype(np.uint32)
    reader = _Reader(words, offsets, starts, lengths, symbols.link_base & WITHIN_PAGE)
    reader.read()
    return KernelText(
        path=path,
        names=tuple(table.names[index] for index in chosen.tolist()),
        aliases=tuple(table.aliases[index] for index in chosen.tolist()),
        starts=starts,
        lengths=_trimmed(words, starts),
        words=reader.masked,
        places=_places(reader, table, whole, offsets),
        raw=words,
        skipped=tuple(table.names[index] for index in np.flatnonzero(code & ~whole).tolist()),
    )


def spans(starts: Ints, lengths: Ints) -> Ints:
    """The numbers from each start on, as many as its length, one range after the other."""
    firsts = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    return np.repeat(starts - firsts, lengths) + np.arange(total, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _SymbolTable:
    """One row an address: ascending offsets, the name chosen, all names, its number, is it code."""

    offsets: Ints
    names: list[str]
    aliases: list[tuple[str, ...]]
    numbers: Ints
    code: Flags


def _symbol_table(symbols: Kallsyms, numbers: Numbers) -> _SymbolTable:
    offsets, first, counts = np.unique(
        np.array(symbols.offsets, np.int64), return_index=True, return_counts=True
    )
    letters = np.frombuffer(symbols.types.encode("latin-1", "replace"), np.uint8)
    is_code = np.isin(letters, np.frombuffer(FUNCTION_LETTERS, np.uint8))
    code = np.logical_or.reduceat(is_code, first)
    names = [symbols.names[at] for at in first.tolist()]
    aliases: list[tuple[str, ...]] = [(name,) for name in names]
    for row in np.flatnonzero(counts > 1).tolist():
        at = int(first[row])
        known = symbols.names[at : at + int(counts[row])]
        aliases[row] = known
        names[row] = Names((0, name) for name in known).name(0) or known[0]
    return _SymbolTable(offsets, names, aliases, numbers.of(names), code)


def _trimmed(words: Words, starts: Ints) -> Ints:
    """Lengths without the nops and zeros at the end; at least one word is left."""
    numbers = np.where((words == NOP) | (words == 0), -1, np.arange(len(words)))
    last = np.maximum.reduceat(numbers, starts)
    return np.maximum(last - starts + 1, 1)


class _Reader:
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

    def read(self) -> None:
        """Fill in everything."""
        self._find_literals()
        for form in RELATIVE:
            self._relative(*form)
        pages = self._addresses()
        self._complete(pages)

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
            self.refers[users] = self.by_page[users] = True
            self.masked[users] &= np.uint32(~_LOW_FIELD & 0xFFFFFFFF)
            branch = (word & np.uint32(_BRANCHES_MASK)) == _BRANCHES
            live = live[:, ~(code & (branch | ((word & np.uint32(31)) == register)))]
            live[3] += 1


def _field(words: Words, low: int, width: int) -> Ints:
    """A signed field of each word."""
    value = words.astype(np.int64) >> low & (1 << width) - 1
    return value - ((value >> width - 1) << width)


def _field_unsigned(words: Words) -> Ints:
    return words.astype(np.int64) >> 10 & WITHIN_PAGE


def _scale(words: Words) -> Ints:
    """By what the 12 bits of ADD, or of a load or store, are shifted."""
    scale = words.astype(np.int64) >> 30
    wide = (words >> np.uint32(26) & words >> np.uint32(23) & np.uint32(1)) != 0
    scale = np.where(wide, 4, scale)  # 128-bit: size 0, opc<1> set
    return np.where((words & np.uint32(ADD.mask)) == ADD.value, 0, scale)


def _places(reader: _Reader, table: _SymbolTable, whole: Flags, offsets: Ints) -> Ints:
    """A tag of Reference and a value, for each word."""
    places: Ints = np.zeros(len(reader.pc), np.int64)
    at = reader.within()
    at = at[(reader.target[at] % 4 == 0) & ~reader.by_page[at]]
    places[at] = _tagged(Reference.INSIDE, (reader.target[at] - reader.pc[at] >> 2) + _BIAS)
    places[reader.literal] = _tagged(Reference.LITERAL, 0)
    at = np.flatnonzero(reader.refers & (places == 0))
    target = reader.target[at]
    row = np.searchsorted(table.offsets, target, "right") - 1
    distance = target - table.offsets[row]
    near = (row >= 0) & (distance <= Names.reach)
    value = table.numbers[row] << _NAME_SHIFT | np.where(near, distance, 0)
    tag = np.where(whole[row], Reference.FUNCTION, Reference.DATA).astype(np.int64)
    nameless = _tagged(Reference.NAMELESS, target - offsets[reader.owner[at]] + _BIAS)
    places[at] = np.where(near, (tag << TAG_SHIFT) | value, nameless)
    return places


def inside_distance(places: Ints) -> Ints:
    """By how many words the target is ahead, of ``places`` that are Reference.INSIDE."""
    return (places & (1 << TAG_SHIFT) - 1) - _BIAS


def _tagged(reference: Reference, value: Ints | int) -> Ints:
    return np.asarray(value, np.int64) | int(reference) << TAG_SHIFT
