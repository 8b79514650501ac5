"""Where a whole program's code comes from: a kernel Image with its kallsyms, or a linked ELF."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import field, replace

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import SectionFlag, SectionType
from relokit.diffing.kernels.whole_object import placed_distances, placed_object
from relokit.diffing.read.extents import TYPE_HASH, is_writable
from relokit.diffing.read.image_symbols import image_symbols
from relokit.diffing.read.kernel_data import CODE_LETTERS, constant_ranges, with_pointers
from relokit.diffing.read.kernel_hashes import has_hashes, hashed
from relokit.diffing.read.other_readers import linked_tables, placed_tables
from relokit.diffing.read.references import Ints
from relokit.diffing.read.routine import DiffError, Extent
from relokit.diffing.read.sides import MAX_FILE
from relokit.linker.elf.elf_reader import read_code, read_object
from relokit.linker.elf_format import ELF_MAGIC, ET_REL
from relokit.linker.image import Image, PlacedSection
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.opened import Files

Letters = npt.NDArray[np.uint8]
FURTHEST = 1 << 62
"""Bytes from the first of a program behind which a name is of nothing that is compared."""
MAX_APART = 1 << 28
"""Bytes from a program's code to constant data that is compared with it."""


def _no_distances() -> tuple[Ints, Ints]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class ProgramSource:
    """The bytes of a program, linked at VA ``base``, its symbols, and where its constant data is:
    from each even one of ``constant`` to the next. In memory it has ``size`` bytes. ``linked`` says
    that it is an ELF file, which has names for all its data.

    Symbol n is called ``names[n]``, has the type ``letters[n]``, as nm says it, and is at
    ``offsets[n]``, which ascend.
    """

    content: memoryview
    base: int
    names: Sequence[str] = field(repr=False)
    letters: Letters = field(repr=False)
    offsets: Ints = field(repr=False)
    constant: Ints = field(repr=False)
    size: int
    linked: bool = False
    hashed: Ints = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    """Ascending offsets of the functions that have the hash of their type in front of them."""
    distances: tuple[Ints, Ints] = field(default_factory=_no_distances, repr=False)
    """Ascending offsets of 32-bit distances, and what they lead to, as far as the file says."""
    tables: tuple[Extent, ...] = field(default=(), repr=False)
    """Sections of data, those of an ELF file: others may be their readers."""


def read_program(path: str, files: Files) -> ProgramSource:
    """The program at ``path``.

    Raises FormatError for a damaged file, LinkError for one that is spread too far, DiffError for
    an ELF file without functions.
    """
    content = files.file(path, what="a kernel or a linked ELF file", limit=MAX_FILE).content
    if bytes(content[:4]) != ELF_MAGIC:
        kernel = files.kernel(path)
        image, symbols = kernel.file.image, kernel.symbols
        filled = with_pointers(image, symbols.link_base)
        edges = _edges(constant_ranges(filled, symbols))
        return ProgramSource(
            content=filled,
            base=symbols.link_base,
            names=symbols.names,
            letters=np.frombuffer(symbols.letters, np.uint8),
            offsets=np.frombuffer(symbols.offsets, np.int64),
            constant=edges,
            size=kernel.file.header.image_size,
            hashed=_hashed(image, symbols),
        )
    if content[16:18] == struct.pack("<H", ET_REL):
        unit = read_object(content, path, to_link=False)
        placed = placed_object(unit, path)
        found = _linked(placed, path, placed_tables(placed))
        pairs = np.array(placed_distances(unit, placed), np.int64).reshape(-1, 2) - found.base
        within = ((pairs >= 0) & (pairs < len(found.content))).all(axis=1)
        return replace(found, distances=(pairs[within, 0], pairs[within, 1]))
    return _linked(read_code(content, path), path, linked_tables(content, path))


def _linked(image: Image, path: str, tables: tuple[Extent, ...]) -> ProgramSource:
    code = [one for one in image.sections if _is_code(one)]
    near = range(
        min((one.va for one in code), default=0) - MAX_APART,
        max((one.va + one.size for one in code), default=0) + MAX_APART,
    )
    kept = [one for one in image.sections if _is_code(one) or _is_near(one, near)]
    flat = memoryview(replace(image, sections=tuple(kept)).flat)
    base = min((section.va for section in kept), default=0)
    found = image_symbols(image)
    named = sorted(
        (address - base, name, letter)
        for letter, places in (("t", found.routines), ("d", found.data))
        for _, address, _, name in places
        if 0 <= address - base < FURTHEST
    )
    if not any(letter == "t" for _, _, letter in named):
        raise DiffError("names no function", where=path, hint="give one that is not stripped")
    # What comes last in a section of code ends with that, and what comes last at all with the code.
    begun = {address for address, _, _ in named}
    code_ends = {one.va + one.size - base for one in code} - begun
    named = sorted([*named, *((end, "", "d") for end in code_ends)])
    named.append((max(len(flat), named[-1][0]), "", "d"))
    offsets, names, letters = zip(*named, strict=True)
    constant = _edges(
        (one.va - base, one.va - base + one.size)
        for one in kept
        if not is_writable(one.flags, one.name)
    )
    ends = (one.va - base + one.size for one in image.sections)
    size = max((end for end in ends if end <= len(flat) + MAX_APART), default=0)
    return ProgramSource(
        content=flat,
        base=base,
        names=names,
        letters=np.frombuffer("".join(letters).encode("ascii"), np.uint8),
        offsets=np.array(offsets, np.int64),
        constant=constant,
        size=max(size, len(flat)),
        linked=True,
        tables=tables,
        hashed=np.array(sorted(at + TYPE_HASH - base for _, at in found.hashes), np.int64),
    )


def _hashed(image: memoryview, symbols: Kallsyms) -> Ints:
    if not has_hashes(symbols):
        return np.zeros(0, np.int64)
    letters = np.frombuffer(symbols.letters, np.uint8)
    code = np.isin(letters, np.frombuffer(CODE_LETTERS.encode(), np.uint8))
    functions = np.unique(np.frombuffer(symbols.offsets, np.int64)[code])
    return np.array([*hashed(image, symbols, functions.tolist())], np.int64)


def _is_code(section: PlacedSection) -> bool:
    return bool(section.flags & SectionFlag.EXEC and section.data)


def _is_near(section: PlacedSection, near: range) -> bool:
    """Whether a section has data, and is not so far from the code that it costs much."""
    if (
        section.type is SectionType.NOBITS
        or not section.data
        or not section.flags & SectionFlag.ALLOC
    ):
        return False
    return near.start <= section.va and section.va + section.size <= near.stop


def _edges(ranges: Iterable[tuple[int, int]]) -> Ints:
    """Ranges as ascending edges; those that meet are one."""
    edges: list[int] = []
    for start, end in sorted(ranges):
        if edges and start <= edges[-1]:
            edges[-1] = max(edges[-1], end)
        elif start < end:
            edges += [start, end]
    return np.array(edges, np.int64)
