"""Write an Image as ET_EXEC and an Object as ET_REL: LIEF on a seed laid out by hand.

LIEF 1.0 cannot make an ELF from nothing, moves what has to grow, and materialises every byte up
to the last offset it is told of. So the file is planned here, tables in front and contents
behind; LIEF gets a seed of the tables with empty contents, fills in names, attributes, symbols
and relocations; the offsets and sizes of the contents are put in afterwards, and the contents
themselves are streamed. The same input gives the same bytes.

Order in the file: ELF header, program headers, .rela.*, .symtab, .strtab, .shstrtab, section
header table, contents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from relokit.codegen.aarch64_elf import EM_AARCH64, RelocationType
from relokit.codegen.errors import FormatError
from relokit.codegen.object import (
    ABSOLUTE,
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    SectionFlag,
    SectionType,
    SymbolType,
)
from relokit.linker.elf_format import (
    EHDR,
    ET_EXEC,
    ET_REL,
    IDENT,
    PHDR,
    PT_LOAD,
    RELA,
    SHDR,
    SHF_INFO_LINK,
    SHN_ABS,
    SHN_LORESERVE,
    SHN_UNDEF,
    SHT_RELA,
    SHT_STRTAB,
    SHT_SYMTAB,
    STV_DEFAULT,
    STV_HIDDEN,
    SYM,
)
from relokit.linker.image import Image

if TYPE_CHECKING:
    from lief import ELF

MAX_FILE = 1 << 32
"""LIEF silently truncates sizes from 4 GiB up."""

Chunk = bytes | memoryview


@dataclass(frozen=True, slots=True)
class _Row:
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
class _SegmentRow:
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
class _SymbolRow:
    """A symbol table entry to be; ``section`` is the ELF number."""

    name: str
    value: int
    size: int
    binding: int
    type: int
    section: int
    visibility: int = STV_DEFAULT


@dataclass(frozen=True, slots=True)
class _Plan:
    """A whole file: ``rows`` starts with the null section, contents first, tables behind."""

    kind: int
    entry: int
    rows: tuple[_Row, ...]
    contents: int
    segments: tuple[_SegmentRow, ...]
    symbols: tuple[_SymbolRow, ...]
    table_offset: int
    tables_end: int


def write_exec(image: Image) -> bytes:
    """Return ``image`` as an ET_EXEC file; raises FormatError for what ELF or LIEF cannot hold."""
    return b"".join(exec_chunks(image))


def write_rel(item: Object) -> bytes:
    """Return ``item`` as an ET_REL file that GNU ld and ld.lld take; raises FormatError.

    Local symbols come first and relocations in the order of their offsets.
    """
    return b"".join(rel_chunks(item))


def exec_chunks(image: Image) -> Iterator[Chunk]:
    """The ET_EXEC file piece by piece: large contents are passed through, never copied."""
    rows = [_Row("", 0)]
    for section in image.sections:
        rows.append(
            _Row(
                section.name,
                section.type,
                section.flags,
                section.va if section.flags & SectionFlag.ALLOC else 0,
                section.align,
                section.size,
                section.data,
            )
        )
    symbols = [
        _SymbolRow(
            symbol.name,
            symbol.value,
            symbol.size,
            symbol.binding,
            symbol.type,
            {UNDEFINED: SHN_UNDEF, ABSOLUTE: SHN_ABS}.get(symbol.section, symbol.section + 1),
        )
        for symbol in image.symbols
    ]
    plan = _plan(ET_EXEC, image.entry, rows, symbols, image)
    return _chunks(plan)


def rel_chunks(item: Object) -> Iterator[Chunk]:
    """The ET_REL file piece by piece."""
    rows = [_Row("", 0)]
    for section in item.sections:
        rows.append(
            _Row(
                section.name,
                section.type,
                section.flags,
                0,
                section.align,
                section.size,
                section.data,
                entsize=section.entsize,
                relocations=section.relocations,
            )
        )
    symbols = [
        _SymbolRow(
            symbol.name,
            symbol.value,
            symbol.size,
            symbol.binding,
            symbol.type,
            {UNDEFINED: SHN_UNDEF, ABSOLUTE: SHN_ABS}.get(symbol.section, symbol.section + 1),
            STV_HIDDEN if symbol.hidden else STV_DEFAULT,
        )
        for symbol in item.symbols
    ]
    return _chunks(_plan(ET_REL, 0, rows, symbols, None))


# Planning


def _align(value: int, to: int) -> int:
    return (value + to - 1) // to * to


def _plan(
    kind: int,
    entry: int,
    rows: list[_Row],
    symbols: Sequence[_SymbolRow],
    image: Image | None,
) -> _Plan:
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
            _Row(
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
        _Row(
            ".symtab",
            SHT_SYMTAB,
            align=8,
            link=symtab + 1,
            info=locals_end,
            entsize=SYM.size,
            size=SYM.size * (len(ordered) + 1),
        )
    )
    rows.append(_Row(".strtab", SHT_STRTAB, size=names))
    if len(rows) + 1 >= SHN_LORESERVE:
        raise FormatError(f"{len(rows)} sections are too many for an ELF file")
    size = sum(_stored_length(row.name) for row in rows) + _stored_length(".shstrtab")
    rows.append(_Row(".shstrtab", SHT_STRTAB, size=size))
    segments = image.segments if image else ()
    offset = EHDR.size + PHDR.size * len(segments)
    for number in range(contents, len(rows)):
        offset = _align(offset, rows[number].align)
        rows[number] = replace(rows[number], offset=offset)
        offset += rows[number].size
    table_offset = _align(offset, 8)
    end = table_offset + SHDR.size * len(rows)
    if image is not None:
        headers = _place_exec(rows, image, end)
    else:
        headers = ()
        _place_rel(rows, contents, end)
    return _Plan(kind, entry, tuple(rows), contents, headers, tuple(ordered), table_offset, end)


def _order(
    kind: int, symbols: Sequence[_SymbolRow], sections: int
) -> tuple[list[_SymbolRow], list[int], int]:
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


def _exported(symbol: _SymbolRow) -> bool:
    return symbol.size > 0 and symbol.type in (SymbolType.FUNC, SymbolType.OBJECT)


def _renumber(row: _Row, numbers: Sequence[int]) -> tuple[Relocation, ...]:
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


def _place_rel(rows: list[_Row], contents: int, offset: int) -> None:
    for number in range(1, contents):
        row = rows[number]
        if row.data:
            offset = _align(offset, min(row.align, 4096))
        rows[number] = replace(row, offset=offset)
        offset += len(row.data)


def _place_exec(rows: list[_Row], image: Image, offset: int) -> tuple[_SegmentRow, ...]:
    """Give every content its file offset: congruent to its VA within a PT_LOAD (gABI)."""
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
                offset = _align(offset, min(section.align, 4096))
            rows[index + 1] = replace(rows[index + 1], offset=offset)
            offset += len(section.data)
    if offset >= MAX_FILE:
        raise FormatError(
            f"the file would have {offset} bytes", hint="less than 4 GiB can be written"
        )
    return tuple(_segment_row(rows, image, at) for at in range(len(image.segments)))


def _segment_row(rows: Sequence[_Row], image: Image, at: int) -> _SegmentRow:
    segment = image.segments[at]
    if not segment.sections:
        return _SegmentRow(segment.type, segment.flags, 0, 0, 0, 0, 0, segment.align)
    inside = [image.sections[index] for index in segment.sections]
    first = inside[0]
    start = rows[segment.sections[0] + 1].offset
    ends = [rows[i + 1].offset + len(rows[i + 1].data) for i in segment.sections]
    memory = inside[-1].va + inside[-1].size - first.va
    if not first.flags & SectionFlag.ALLOC:
        memory = max(ends) - start
    return _SegmentRow(
        segment.type,
        segment.flags,
        start,
        first.va,
        first.pa,
        max(ends) - start,
        memory,
        segment.align,
    )


# Writing


def _chunks(plan: _Plan) -> Iterator[Chunk]:
    tables = _tables(plan)

    def stream() -> Iterator[Chunk]:
        yield tables
        at = plan.tables_end
        for row in sorted(plan.rows[1 : plan.contents], key=lambda row: row.offset):
            if not row.data:
                continue
            if row.offset > at:
                yield bytes(row.offset - at)
            yield row.data
            at = row.offset + len(row.data)

    return stream()


def _seed(plan: _Plan) -> bytes:
    """The tables, zeroed, and a section header table of types, places and sizes."""
    seed = bytearray(plan.tables_end)
    EHDR.pack_into(
        seed,
        0,
        IDENT,
        plan.kind,
        EM_AARCH64,
        1,
        plan.entry,
        EHDR.size if plan.segments else 0,
        plan.table_offset,
        0,
        EHDR.size,
        PHDR.size if plan.segments else 0,
        len(plan.segments),
        SHDR.size,
        len(plan.rows),
        len(plan.rows) - 1,
    )
    for number, row in enumerate(plan.rows):
        table = number >= plan.contents
        SHDR.pack_into(
            seed,
            plan.table_offset + SHDR.size * number,
            0,
            row.type,
            0,
            0,
            row.offset if table else 0,
            row.size if table else 0,
            row.link,
            row.info,
            0,
            0,
        )
    return bytes(seed)


def _tables(plan: _Plan) -> bytes:
    """Everything before the contents, written by LIEF."""
    import lief

    config = lief.ELF.ParserConfig()
    for what in (
        "parse_relocations",
        "parse_dyn_symbols",
        "parse_symtab_symbols",
        "parse_symbol_versions",
        "parse_notes",
        "parse_overlay",
    ):
        setattr(config, what, False)
    lief.logging.disable()
    try:
        binary = lief.ELF.parse(_seed(plan), config)
        if binary is None:
            raise FormatError("LIEF does not take the planned file")
        _fill(lief.ELF, binary, plan)
        written = bytearray(binary.write_to_bytes())
    finally:
        lief.logging.enable()
    if len(written) < plan.tables_end or len(binary.sections) != len(plan.rows):
        raise FormatError("LIEF moved the tables of the file")
    del written[plan.tables_end :]
    _patch(written, plan)
    return bytes(written)


def _fill(elf: Any, binary: ELF.Binary, plan: _Plan) -> None:
    sections = list(binary.sections)
    for section, row in zip(sections[1:], plan.rows[1:], strict=True):
        section.name = row.name
        section.flags = row.flags
        section.virtual_address = row.address
        section.alignment = row.align
        section.information = row.info
        section.entry_size = row.entsize
    for segment, planned in zip(binary.segments, plan.segments, strict=True):
        segment.type = elf.Segment.TYPE.from_value(planned.type)
        segment.flags = elf.Segment.FLAGS(planned.flags)
        segment.virtual_address = planned.va
        segment.physical_address = planned.pa
        segment.virtual_size = planned.memsz
        segment.alignment = planned.align
    binary.add_symtab_symbol(elf.Symbol())
    for planned_symbol in plan.symbols:
        symbol = elf.Symbol()
        symbol.name = planned_symbol.name
        symbol.value = planned_symbol.value
        symbol.size = planned_symbol.size
        symbol.binding = elf.Symbol.BINDING.from_value(planned_symbol.binding)
        symbol.type = elf.Symbol.TYPE.from_value(planned_symbol.type)
        symbol.shndx = planned_symbol.section
        symbol.visibility = elf.Symbol.VISIBILITY.from_value(planned_symbol.visibility)
        binary.add_symtab_symbol(symbol)
    for row in plan.rows[plan.contents :]:
        for planned_relocation in row.relocations:
            relocation = elf.Relocation(
                planned_relocation.offset,
                elf.Relocation.TYPE.from_value(_lief_type(elf, planned_relocation.type)),
                elf.Relocation.ENCODING.RELA,
            )
            relocation.addend = planned_relocation.addend
            added = binary.add_object_relocation(relocation, sections[row.info])
            if added is None:
                raise FormatError(f"LIEF does not take a relocation for {row.name}")
            added.info = planned_relocation.symbol


def _lief_type(elf: Any, number: int) -> int:
    """LIEF keeps the architecture in the high bits of a relocation type."""
    try:
        known = RelocationType(number)
    except ValueError:
        raise FormatError(f"relocation type {number} cannot be written") from None
    base: int = elf.Relocation.TYPE.AARCH64_CALL26.value - RelocationType.CALL26
    return base + known


def _patch(tables: bytearray, plan: _Plan) -> None:
    """Put in where the contents lie, which LIEF was not told."""
    for number in range(1, plan.contents):
        row = plan.rows[number]
        at = plan.table_offset + SHDR.size * number
        fields = list(SHDR.unpack_from(tables, at))
        fields[4:6] = row.offset, row.size
        SHDR.pack_into(tables, at, *fields)
    for number, segment in enumerate(plan.segments):
        at = EHDR.size + PHDR.size * number
        fields = list(PHDR.unpack_from(tables, at))
        fields[2] = segment.offset
        fields[5:7] = segment.filesz, segment.memsz
        PHDR.pack_into(tables, at, *fields)
