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
from relokit.codegen.instruction_forms import NOP, WITHIN_PAGE
from relokit.diffing.kernels.whole_source import read_program
from relokit.diffing.read.references import Flags, Ints, TextReader, Words, spans
from relokit.diffing.read.routine import MAX_ROUTINE, DiffError, Names
from relokit.diffing.routines.classify import WEIGHT, ChangeKind, kinds_of_words
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.opened import Files

MAX_CODE = 64 << 20
"""Bytes of code of one kernel that are compared; shipped ones have 18 MiB."""
FUNCTION_LETTERS = b"tTwW"
"""What kallsyms calls code, as nm does."""


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
    reader = TextReader(words, offsets, starts, lengths, symbols.link_base & WITHIN_PAGE)
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


def _places(reader: TextReader, table: _SymbolTable, whole: Flags, offsets: Ints) -> Ints:
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
