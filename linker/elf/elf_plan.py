"""Where everything goes in an ELF file that is to be written.

Order in the file: ELF header, program headers, .rela.*, .symtab, .strtab, .shstrtab, section
header table, contents. Where the headers are loaded with the contents behind them, tables and
contents change places. The order of the section headers is: contents, then tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relokit.codegen.base.bits import MASK64, round_up
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import Binding, Relocation, SectionFlag, SectionType, SymbolType
from relokit.linker.elf_format import (
    EHDR,
    ET_EXEC,
    PHDR,
    PT_LOAD,
    PT_PHDR,
    RELA,
    SHDR,
    SHF_INFO_LINK,
    SHN_ABS,
    SHN_LORESERVE,
    SHT_RELA,
    SHT_STRTAB,
    SHT_SYMTAB,
    STV_DEFAULT,
    SYM,
)
from relokit.linker.image import Image, Segment

MAX_FILE = 1 << 32
"""LIEF silently truncates sizes from 4 GiB up."""

Chunk = bytes | memoryview


@dataclass(frozen=True, slots=True)
class FileRow:
    """A section header to be; ``size`` in bytes, ``data`` what the file holds of it."""

    name: str
    type: int
    flags: int = 0
    address: int = 0
    align: int = 1
    size: int = 0
    data: Chunk = b""
    link: int = 0
    info: int = 0
    entsize: int = 0
    offset: int = 0
    relocations: tuple[Relocation, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A program header to be, with offset and sizes in bytes."""

    type: int
    flags: int
    offset: int
    va: int
    pa: int
    filesz: int
    memsz: int
    align: int


@dataclass(frozen=True, slots=True)
class SymbolRow:
    """A symbol table entry to be; ``section`` is the ELF number."""

    name: str
    value: int
    size: int
    binding: int
    type: int
    section: int
    visibility: int = STV_DEFAULT


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole file: ``rows`` starts with the null section, contents first, tables behind.

    ``tables_begin`` to ``tables_end`` are the tables as they are written first; in the file they
    lie ``shift`` bytes further on.
    """

    kind: int
    entry: int
    rows: tuple[FileRow, ...]
    contents: int
    segments: tuple[SegmentRow, ...]
    symbols: tuple[SymbolRow, ...]
    table_offset: int
    tables_begin: int
    tables_end: int
    shift: int


def plan_file(
    kind: int,
    entry: int,
    rows: list[FileRow],
    symbols: Sequence[SymbolRow],
    image: Image | None,
) -> Plan:
    """Lay out a file over ``rows`` (null section first): tables in front, contents behind.

    An ``image`` brings program headers. Raises FormatError for what a file cannot hold.
    """
    contents = len(rows)
    for row in rows[1:]:
        stored = 0 if row.type == SectionType.NOBITS else row.size
        if len(row.data) != stored:
            raise FormatError(f"section {row.name} has {len(row.data)} bytes, not {stored}")
        if row.size >= MAX_FILE:
            raise FormatError(
                f"section {row.name} has {row.size} bytes", hint="less than 4 GiB can be written"
            )
    ordered, numbers, locals_end = _order(kind, symbols, contents)
    patched = [number for number in range(1, contents) if rows[number].relocations]
    symtab = contents + len(patched)
    for number in patched:
        row = rows[number]
        rows.append(
            FileRow(
                f".rela{row.name}",
                SHT_RELA,
                SHF_INFO_LINK,
                align=8,
                link=symtab,
                info=number,
                entsize=RELA.size,
                size=RELA.size * len(row.relocations),
                relocations=_renumber(row, numbers),
            )
        )
    names = 1 + sum(_stored_length(symbol.name) for symbol in ordered)
    rows.append(
        FileRow(
            ".symtab",
            SHT_SYMTAB,
            align=8,
            link=symtab + 1,
            info=locals_end,
            entsize=SYM.size,
            size=SYM.size * (len(ordered) + 1),
        )
    )
    rows.append(FileRow(".strtab", SHT_STRTAB, size=names))
    if len(rows) + 1 >= SHN_LORESERVE:
        raise FormatError(f"{len(rows)} sections are too many for an ELF file")
    size = sum(_stored_length(row.name) for row in rows) + _stored_length(".shstrtab")
    rows.append(FileRow(".shstrtab", SHT_STRTAB, size=size))
    segments = image.segments if image else ()
    begin = offset = EHDR.size + PHDR.size * len(segments)
    for number in range(contents, len(rows)):
        offset = round_up(offset, rows[number].align)
        rows[number] = replace(rows[number], offset=offset)
        offset += rows[number].size
    table_offset = round_up(offset, 8)
    end = table_offset + SHDR.size * len(rows)
    shift = 0
    if image is not None:
        loaded = any(segment.head for segment in segments)
        behind, headers = _place_exec(rows, image, begin if loaded else end)
        shift = round_up(behind - begin, 8) if loaded else 0
    else:
        headers = ()
        _place_rel(rows, contents, end)
    return Plan(
        kind,
        entry,
        tuple(rows),
        contents,
        headers,
        tuple(ordered),
        table_offset,
        begin,
        end,
        shift,
    )


def _order(
    kind: int, symbols: Sequence[SymbolRow], sections: int
) -> tuple[list[SymbolRow], list[int], int]:
    """Order: locals, then globals. Returns them, the new number of each, and sh_info."""
    for symbol in symbols:
        if symbol.section != SHN_ABS and not 0 <= symbol.section < sections:
            raise FormatError(f"symbol {symbol.name} is in a section that does not exist")
    local = [i for i, s in enumerate(symbols) if s.binding == Binding.LOCAL]
    shared = [i for i, s in enumerate(symbols) if s.binding != Binding.LOCAL]
    if kind == ET_EXEC:
        # LIEF sets sh_info of an executable to the first symbol it takes for an exported one: a
        # function or object with a size.
        shared.sort(key=lambda i: not _exported(symbols[i]))
    order = local + shared
    numbers = [0] * len(symbols)
    for at, i in enumerate(order):
        numbers[i] = at + 1
    return [symbols[i] for i in order], numbers, len(local) + 1


def _exported(symbol: SymbolRow) -> bool:
    return symbol.size > 0 and symbol.type in (SymbolType.FUNC, SymbolType.OBJECT)


def _renumber(row: FileRow, numbers: Sequence[int]) -> tuple[Relocation, ...]:
    result = []
    for relocation in row.relocations:
        if not 0 <= relocation.symbol < len(numbers):
            raise FormatError(
                f"a relocation of {row.name} names symbol {relocation.symbol}, which does not exist"
            )
        result.append(replace(relocation, symbol=numbers[relocation.symbol]))
    return tuple(result)


def _stored_length(name: str) -> int:
    if "\0" in name:
        raise FormatError(f"the name {name!r} holds a NUL")
    try:
        return len(name.encode()) + 1
    except UnicodeEncodeError:
        raise FormatError(f"the name {name!r} is no text") from None


def _place_rel(rows: list[FileRow], contents: int, offset: int) -> None:
    for number in range(1, contents):
        row = rows[number]
        if row.data:
            offset = round_up(offset, min(row.align, 4096))
        rows[number] = replace(row, offset=offset)
        offset += len(row.data)


def _place_exec(
    rows: list[FileRow], image: Image, offset: int
) -> tuple[int, tuple[SegmentRow, ...]]:
    """Give every content its file offset: congruent to its VA within a PT_LOAD (gABI).

    Returns the offset behind all of them, too.
    """
    placed: set[int] = set()
    base: dict[int, int] = {}
    for at, segment in enumerate(image.segments):
        if segment.type != PT_LOAD or not segment.sections:
            continue
        first = image.sections[segment.sections[0]]
        offset += (first.va - offset) % segment.align
        base[at] = offset
        end = offset
        for index in segment.sections:
            section = image.sections[index]
            if index in placed:
                raise FormatError(f"section {section.name} is in two segments")
            placed.add(index)
            here = base[at] + section.va - first.va
            if section.va < first.va or here < end:
                raise FormatError(f"segment {segment.name} is not in order of addresses")
            if not section.data:
                # Its offset only has to lie in the file.
                rows[index + 1] = replace(rows[index + 1], offset=end)
                continue
            rows[index + 1] = replace(rows[index + 1], offset=here)
            end = here + section.size
        offset = end
    for index, section in enumerate(image.sections):
        if index not in placed:
            if section.data:
                offset = round_up(offset, min(section.align, 4096))
            rows[index + 1] = replace(rows[index + 1], offset=offset)
            offset += len(section.data)
    if offset >= MAX_FILE:
        raise FormatError(
            f"the file would have {offset} bytes", hint="less than 4 GiB can be written"
        )
    return offset, tuple(_segment_row(rows, image, at) for at in range(len(image.segments)))


def _segment_row(rows: Sequence[FileRow], image: Image, at: int) -> SegmentRow:
    segment = image.segments[at]
    if segment.type == PT_PHDR:
        return _table_row(image, segment)
    if not segment.sections:
        return SegmentRow(segment.type, segment.flags, 0, 0, 0, 0, 0, segment.align)
    inside = [image.sections[index] for index in segment.sections]
    first = inside[0]
    start = rows[segment.sections[0] + 1].offset
    ends = [rows[i + 1].offset + len(rows[i + 1].data) for i in segment.sections]
    memory = inside[-1].va + inside[-1].size - first.va
    if not first.flags & SectionFlag.ALLOC:
        memory = max(ends) - start
    stored = max(ends) - start + segment.head
    if segment.head:
        start = segment.head_from
        if not any(rows[i + 1].data for i in segment.sections):
            stored = EHDR.size + PHDR.size * len(image.segments) - start
    return SegmentRow(
        segment.type,
        segment.flags,
        start,
        first.va - segment.head,
        (first.pa - segment.head) & MASK64,
        stored,
        memory + segment.head,
        segment.align,
    )


def _table_row(image: Image, segment: Segment) -> SegmentRow:
    """PT_PHDR: where the program headers are, which the PT_LOAD in front holds."""
    loaded = next(one for one in image.segments if one.head)
    first = image.sections[loaded.sections[0]]
    below = loaded.head + loaded.head_from - EHDR.size
    size = PHDR.size * len(image.segments)
    return SegmentRow(
        segment.type,
        segment.flags,
        EHDR.size,
        first.va - below,
        (first.pa - below) & MASK64,
        size,
        size,
        8,
    )
