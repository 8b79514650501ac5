"""All machine code of one kernel as arrays: what each word is, and what place it refers to.

The rules are those of diffing/instructions/decode.py, over the whole text at once: fields that are
relative to the PC are taken out of the words, and so are the low 12 bits that complete an ADRP.
Encodings: ARM DDI 0487, C4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.budget import spend
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import BR, WITHIN_PAGE
from relokit.diffing.kernels.whole_data import ProgramData, Taken
from relokit.diffing.kernels.whole_places import (
    TAG_SHIFT,
    Reference,
    SymbolRows,
    distinct,
    gathered,
    tagged,
    trimmed,
    with_form,
)
from relokit.diffing.kernels.whole_source import ProgramSource, read_program
from relokit.diffing.read.extents import TYPE_HASH
from relokit.diffing.read.kernel_data import LEAST_NAMED
from relokit.diffing.read.other_readers import OF_A_KERNEL, untaken
from relokit.diffing.read.references import (
    Flag,
    Flags,
    Ints,
    TextReader,
    Words,
    accessed_bytes,
    pointers_within,
)
from relokit.diffing.read.routine import MAX_ROUTINE, DiffError, Names, generic, preference
from relokit.diffing.routines.classify import WEIGHT, ChangeKind, kinds_of_words
from relokit.linker.kernel.opened import Files

MAX_CODE = 256 << 20
"""Bytes of code of one kernel that are compared; shipped ones have 18 MiB."""
CODE_BYTES, TABLE_BYTES = 16, 2
"""What is kept of a byte of code, and of a byte of the whole program."""
_NAMELESS, _PAGE, _NAMED = 0, 1, 2
"""What is known of a variable: nothing, that it is a page, or, from here on, its generic name."""
FUNCTION_LETTERS = b"tTwW"
"""What kallsyms calls code, as nm does."""


class Numbers:
    """A number for each name, the same in both kernels."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, names: Sequence[str]) -> Ints:
        """The numbers of ``names``."""
        numbers = self._numbers
        return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)

    def names(self) -> list[str]:
        """The names, by their numbers."""
        return [*self._numbers]


@dataclass(frozen=True, slots=True)
class KernelText:
    """The functions of a kernel, ascending, and their words one function after the other.

    Function i is called ``names[i]``, which has the number ``numbers[i]`` in both kernels, has all
    the names ``aliases[i]`` if these are several, and is words ``starts[i]``
    up to ``starts[i] + lengths[i]``, the nops and zeros at its end left out. ``words`` have no
    fields that refer to a place; ``places`` say what they refer to.
    ``skipped`` are names of code that is no function: too large, or not whole words.
    """

    path: str
    names: tuple[str, ...] = field(repr=False)
    numbers: Ints = field(repr=False)
    aliases: Mapping[int, tuple[str, ...]] = field(repr=False)
    starts: Ints = field(repr=False)
    lengths: Ints = field(repr=False)
    words: Words = field(repr=False)
    places: Ints = field(repr=False)
    raw: Words = field(repr=False)
    """The words as they are in the Image."""
    targets: Ints = field(repr=False)
    """By word, the offset of the constant data that it takes, or -1."""
    program: ProgramData = field(repr=False)
    offsets: Ints = field(repr=False)
    """By function, where it is in the program."""
    jumps: Flags = field(repr=False)
    """By function, whether it jumps by a register."""
    variables: Ints = field(repr=False)
    """Ascending numbers of the words whose place is a Reference.VARIABLE."""
    variable_offsets: Ints = field(repr=False)
    """Where those that these take begin, as offsets."""
    skipped: tuple[str, ...] = ()
    others: int = 0
    """References to data that is not constant: only the place is compared."""
    tables: tuple[str, ...] = ()
    """Sections of data that no function takes anything of, so that none of it is compared."""

    def names_of(self, function: int) -> tuple[str, ...]:
        """All names of a function."""
        return self.aliases.get(function) or (self.names[function],)

    def functions_of(self, words: Ints) -> Ints:
        """The functions that ascending words are in, -1 for what fills up behind one."""
        owner: Ints = np.searchsorted(self.starts, words, "right") - 1
        owner[words - self.starts[owner] >= self.lengths[owner]] = -1
        return owner

    def taken(self, words: Ints) -> Taken:
        """What the words with these numbers, which are ascending by function, take."""
        owner = np.searchsorted(self.starts, words, "right") - 1
        first = self.offsets[owner]
        literal = self.places[words] >> TAG_SHIFT == Reference.LITERAL
        return Taken(
            self.targets[words],
            np.where(literal, 0, accessed_bytes(self.raw[words])),
            first,
            first + 4 * self.lengths[owner],
            self.jumps[owner],
        )

    def kinds_of(self, words: Ints) -> npt.NDArray[np.uint8]:
        """What the words with these numbers are about, each as its kind's place in WEIGHT."""
        kinds = kinds_of_words(self.raw[words])
        kinds[self.places[words] >> TAG_SHIFT == Reference.LITERAL] = WEIGHT.index(ChangeKind.DATA)
        return kinds


def read_text(path: str, numbers: Numbers, files: Files) -> KernelText:
    """Read the program at ``path``; raises FormatError, and DiffError where it has no functions."""
    program = read_program(path, files)
    table = _symbol_table(program, numbers)
    content = bytes(program.content)
    ends = np.minimum(np.append(table.offsets[1:], table.offsets[-1]), len(content) & ~3)
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
    own = np.isin(offsets, program.hashed)
    _take_hashes(offsets, sizes, own)
    spend(CODE_BYTES * int(sizes.sum()) + TABLE_BYTES * len(content), "what is known of code", path)
    lengths = sizes // 4
    starts = np.cumsum(lengths) - lengths
    words = gathered(content, offsets, lengths)
    reader = TextReader(words, offsets, lengths, program.base & WITHIN_PAGE)
    hashes = starts[own]
    reader.flags[hashes], reader.masked[hashes] = Flag.LITERAL, words[hashes]
    taken = reader.having(Flag.TAKES)
    pointers = pointers_within(content, program.base)
    data = ProgramData(
        content=content,
        base=program.base,
        size=program.size,
        bounds=distinct(
            len(content),
            table.offsets,
            reader.target[taken],
            program.constant,
            pointers[1],
            program.distances[1],
        ),
        pointers=pointers,
        distances=program.distances,
        symbols=table.offsets,
        numbers=table.numbers,
        functions=whole,
        reach=Names.reach,
        constant=program.constant,
        named_data=program.linked or int((program.letters == ord("b")).sum()) >= LEAST_NAMED,
    )
    targets = np.full(len(words), -1, np.int64)
    constant = taken[data.is_constant(reader.target[taken])]
    targets[constant] = reader.target[constant]
    rows = SymbolRows(table.offsets, table.numbers, whole, Names.reach, len(content))
    places = rows.places(reader, offsets, lengths)
    others = places[taken] >> TAG_SHIFT >= Reference.DATA
    _name_constants(places, reader, data)
    variables = _variables(places, reader, table, data)
    variable_offsets = reader.target[variables]
    known = places[variables] >= tagged(Reference.VARIABLE, _NAMED)
    row = np.searchsorted(table.offsets, variable_offsets[known], "right") - 1
    variable_offsets[known] = table.offsets[row]
    _name_literals(places, targets, reader, data, offsets, starts)
    return KernelText(
        path=path,
        names=tuple(table.names[index] for index in chosen.tolist()),
        numbers=table.numbers[chosen],
        aliases=_renumbered(table.aliases, chosen),
        starts=starts,
        lengths=trimmed(words, lengths),
        words=reader.masked,
        places=places,
        raw=words,
        targets=targets,
        program=data,
        offsets=offsets,
        jumps=with_form(words, lengths, BR),
        variables=variables,
        variable_offsets=variable_offsets,
        skipped=tuple(table.names[index] for index in np.flatnonzero(code & ~whole).tolist()),
        others=int(others.sum()) - len(constant),
        tables=_tables(program, reader.target[taken], table.offsets),
    )


def _tables(program: ProgramSource, taken: Ints, symbols: Ints) -> tuple[str, ...]:
    if not program.linked:
        return (OF_A_KERNEL,)
    if not program.tables:
        return ()
    found = np.unique(taken).tolist()
    return tuple(untaken(program.tables, program.base, found, symbols.tolist()))


def _take_hashes(offsets: Ints, sizes: Ints, own: Flags) -> None:
    """Have functions begin with the hash of their type, where they have it as their ``own``, and
    those before end in front of it.
    """
    at = np.flatnonzero(own)
    before = at[(at > 0) & (offsets[at - 1] + sizes[at - 1] == offsets[at])] - 1
    sizes[before] -= TYPE_HASH
    offsets[at] -= TYPE_HASH
    sizes[at] += TYPE_HASH


@dataclass(frozen=True, slots=True)
class _SymbolTable:
    """One row an address: ascending offsets, the name chosen, all names if there are several, its
    number, is it code.

    The number of data is that of its generic name; ``numbered`` is whether that is another one.
    """

    offsets: Ints
    names: list[str]
    aliases: dict[int, tuple[str, ...]]
    numbers: Ints
    code: Flags
    numbered: Flags


def _symbol_table(program: ProgramSource, numbers: Numbers) -> _SymbolTable:
    offsets, first, counts = np.unique(program.offsets, return_index=True, return_counts=True)
    is_code = np.isin(program.letters, np.frombuffer(FUNCTION_LETTERS, np.uint8))
    code = np.logical_or.reduceat(is_code, first)
    names = [program.names[at] for at in first.tolist()]
    aliases = {}
    for row in np.flatnonzero(counts > 1).tolist():
        at = int(first[row])
        known = tuple(program.names[at : at + int(counts[row])])
        aliases[row] = known
        names[row] = min(known, key=preference) or known[0]
    shown = names.copy()
    numbered: Flags = np.zeros(len(names), np.bool_)
    for row in np.flatnonzero(~code).tolist():
        # What a compiler numbers ends with the number.
        if names[row][-1:].isdecimal():
            shown[row] = generic(names[row])
            numbered[row] = shown[row] != names[row]
    return _SymbolTable(offsets, names, aliases, numbers.of(shown), code, numbered)


def _renumbered(aliases: dict[int, tuple[str, ...]], rows: Ints) -> dict[int, tuple[str, ...]]:
    """``aliases`` of ascending ``rows``, by their places among these."""
    having = np.array(list(aliases), np.int64)
    places = np.minimum(np.searchsorted(rows, having), len(rows) - 1)
    kept = rows[places] == having
    return {
        place: aliases[row]
        for place, row in zip(places[kept].tolist(), having[kept].tolist(), strict=True)
    }


def _name_constants(places: Ints, reader: TextReader, data: ProgramData) -> None:
    """Have places in constant data say no more than the symbol that begins there."""
    at = reader.having(Flag.TAKES | Flag.COMPLETED)
    tag = places[at] >> TAG_SHIFT
    at = at[(tag == Reference.DATA) | (tag == Reference.NAMELESS)]
    at = at[data.is_constant(reader.target[at])]
    target = reader.target[at]
    row = np.searchsorted(data.symbols, target, "right") - 1
    exact = (row >= 0) & (data.symbols[row] == target)
    places[at] = tagged(Reference.CONSTANT, np.where(exact, data.numbers[row] + 1, 0))


def _variables(places: Ints, reader: TextReader, table: _SymbolTable, data: ProgramData) -> Ints:
    """Have places in data that may change, and is not known by its name, say what is known."""
    pages = reader.having(Flag.BY_PAGE)
    unknown = reader.flags[pages] & np.uint8(Flag.COMPLETED | Flag.TAKES) == 0
    pages = pages[unknown]
    at = reader.having(Flag.TAKES | Flag.COMPLETED)
    tag = places[at] >> TAG_SHIFT
    row = np.searchsorted(table.offsets, reader.target[at], "right") - 1
    if data.named_data:
        at = at[(tag == Reference.DATA) & table.numbered[row]]
        places[at] = tagged(Reference.VARIABLE, (places[at] & (1 << TAG_SHIFT) - 1) + _NAMED)
    else:
        # What is far from every name has none; what a name is exactly of has that one.
        exact = (row >= 0) & (table.offsets[row] == reader.target[at])
        data_tag = (tag == Reference.DATA) | (tag == Reference.NAMELESS)
        at = at[data_tag & data.is_nameless(reader.target[at]) & ~exact]
        places[at] = tagged(Reference.VARIABLE, _NAMELESS)
    places[pages] = tagged(Reference.VARIABLE, _PAGE)
    return np.sort(np.concatenate([at, pages]))


def _name_literals(
    places: Ints,
    targets: Ints,
    reader: TextReader,
    data: ProgramData,
    offsets: Ints,
    starts: Ints,
) -> None:
    """Have literals that are addresses say what of, or take the constant data that is there."""
    at = reader.having(Flag.LITERAL)
    at = at[np.isin(at + 1, at)]
    owner = np.searchsorted(starts, at, "right") - 1
    target = data.pointed(offsets[owner] + 4 * (at - starts[owner]))
    names = data.names(target)
    constant = (target >= 0) & (names < 0) & data.is_constant(target)
    known = (names >= 0) | constant
    if not data.named_data:
        known |= (target >= 0) & data.is_nameless(target)
    targets[at[constant]] = target[constant]
    at, names = at[known], names[known]
    for half in (at, at + 1):
        places[half] = tagged(Reference.LITERAL, names + 1)
        reader.masked[half] = 0
