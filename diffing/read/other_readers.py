"""Data of a linked file, by section: of what no code takes anything of, others are readers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from relokit.codegen.object import SectionFlag, SectionType
from relokit.diffing.read.routine import Extent
from relokit.linker.elf.elf_file import ElfFile
from relokit.linker.elf_format import (
    ET_DYN,
    ET_EXEC,
    SHF_COMPRESSED,
    SHT_FINI_ARRAY,
    SHT_INIT_ARRAY,
    SHT_PREINIT_ARRAY,
)
from relokit.linker.image import Image

OF_A_KERNEL = "what no instruction takes, as of __ex_table and .altinstructions"
"""What is said of a kernel Image, whose sections have no names."""
_KINDS = (SectionType.PROGBITS, SHT_INIT_ARRAY, SHT_FINI_ARRAY, SHT_PREINIT_ARRAY)


def linked_tables(
    content: bytes | memoryview, path: str, *, writable: bool = False
) -> tuple[Extent, ...]:
    """The loaded data of a linked ELF file, by section; only what is ``writable`` if so.

    Raises FormatError for a damaged file.
    """
    needed = SectionFlag.ALLOC | (SectionFlag.WRITE if writable else 0)
    return tuple(
        Extent(one.name, one.address, one.size)
        for one in ElfFile(content, path, ET_EXEC, ET_DYN).sections
        if one.type in _KINDS
        and one.size
        and one.flags & needed == needed
        and not one.flags & (SectionFlag.EXEC | SHF_COMPRESSED)
    )


def placed_tables(image: Image) -> tuple[Extent, ...]:
    """The same of an object that was placed; merged constants belong to what takes them."""
    return tuple(
        Extent(one.name, one.va, one.size)
        for one in image.sections
        if one.data and not one.flags & (SectionFlag.EXEC | SectionFlag.MERGE)
    )


def untaken(
    tables: Iterable[Extent], base: int, taken: Sequence[int], symbols: Sequence[int]
) -> Iterator[str]:
    """Names of those in which none of the ascending offsets ``taken`` from VA ``base`` lies, and of
    those with some of the ascending ``symbols`` that none leads to, with how many of how many.
    """
    for one in tables:
        start = one.address - base
        at, end = (bisect_left(taken, edge) for edge in (start, start + one.size))
        first, last = (bisect_left(symbols, edge) for edge in (start, start + one.size))
        led_to = {bisect_right(symbols, offset) for offset in taken[at:end]}
        rest = sum(number + 1 not in led_to for number in range(first, last))
        if at == end:
            yield one.name
        elif rest:
            yield f"{one.name} ({rest} of {last - first} symbols)"
