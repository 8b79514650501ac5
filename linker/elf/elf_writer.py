"""Write an Image as ET_EXEC and an Object as ET_REL: LIEF on a seed laid out by hand.

LIEF 1.0 cannot make an ELF from nothing, moves what has to grow, and materialises every byte up
to the last offset it is told of. So the file is planned first (:mod:`relokit.linker.elf.elf_plan`),
tables in front and contents behind (or the other way round, see there); LIEF gets a seed of the
tables with empty contents, fills in
names, attributes, symbols and relocations; the offsets and sizes of the contents are put in
afterwards, and the contents themselves are streamed. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from relokit.codegen.aarch64_elf import EM_AARCH64, RelocationType
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.process_limits import check_space
from relokit.codegen.base.told_to_end import uninterrupted
from relokit.codegen.object import ABSOLUTE, UNDEFINED, Object, SectionFlag
from relokit.linker.elf.elf_plan import Chunk, FileRow, Plan, SymbolRow, plan_file
from relokit.linker.elf_format import (
    EHDR,
    ET_EXEC,
    ET_REL,
    IDENT,
    PHDR,
    SHDR,
    SHN_ABS,
    SHN_UNDEF,
    STV_DEFAULT,
    STV_HIDDEN,
)
from relokit.linker.image import Image

if TYPE_CHECKING:
    from lief import ELF

LIEF_SPACE = 96 << 20
"""Bytes of addresses that it takes to import, and to write tables with."""
_SPECIAL = {UNDEFINED: SHN_UNDEF, ABSOLUTE: SHN_ABS}


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
    rows = [FileRow("", 0)]
    for section in image.sections:
        rows.append(
            FileRow(
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
        SymbolRow(
            symbol.name,
            symbol.value,
            symbol.size,
            symbol.binding,
            symbol.type,
            _SPECIAL.get(symbol.section, symbol.section + 1),
        )
        for symbol in image.symbols
    ]
    plan = plan_file(ET_EXEC, image.entry, rows, symbols, image)
    return _chunks(plan)


def rel_chunks(item: Object) -> Iterator[Chunk]:
    """The ET_REL file piece by piece."""
    rows = [FileRow("", 0)]
    for section in item.sections:
        rows.append(
            FileRow(
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
        SymbolRow(
            symbol.name,
            symbol.value,
            symbol.size,
            symbol.binding,
            symbol.type,
            _SPECIAL.get(symbol.section, symbol.section + 1),
            STV_HIDDEN if symbol.hidden else STV_DEFAULT,
        )
        for symbol in item.symbols
    ]
    return _chunks(plan_file(ET_REL, 0, rows, symbols, None))


def _chunks(plan: Plan) -> Iterator[Chunk]:
    tables = _tables(plan)

    def stream() -> Iterator[Chunk]:
        at = plan.tables_begin if plan.shift else plan.tables_end
        yield tables[:at]
        for row in sorted(plan.rows[1 : plan.contents], key=lambda row: row.offset):
            if not row.data:
                continue
            if row.offset > at:
                yield bytes(row.offset - at)
            yield row.data
            at = row.offset + len(row.data)
        if plan.shift:
            yield bytes(plan.tables_begin + plan.shift - at)
            yield tables[plan.tables_begin :]

    return stream()


def _seed(plan: Plan) -> bytes:
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


def _tables(plan: Plan) -> bytes:
    """Everything before the contents, written by LIEF."""
    # An exception in the middle of its import ends the process: Python's, or for want of memory.
    check_space(LIEF_SPACE, "LIEF")
    with uninterrupted():
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


def _fill(elf: Any, binary: ELF.Binary, plan: Plan) -> None:
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


def _patch(tables: bytearray, plan: Plan) -> None:
    """Put in where contents and tables lie, which LIEF was not told."""
    header = list(EHDR.unpack_from(tables))
    header[6] += plan.shift
    EHDR.pack_into(tables, 0, *header)
    for number in range(1, len(plan.rows)):
        row = plan.rows[number]
        at = plan.table_offset + SHDR.size * number
        fields = list(SHDR.unpack_from(tables, at))
        if number < plan.contents:
            fields[4:6] = row.offset, row.size
        else:
            fields[4] += plan.shift
        SHDR.pack_into(tables, at, *fields)
    for number, segment in enumerate(plan.segments):
        at = EHDR.size + PHDR.size * number
        fields = list(PHDR.unpack_from(tables, at))
        fields[2:5] = segment.offset, segment.va, segment.pa
        fields[5:7] = segment.filesz, segment.memsz
        PHDR.pack_into(tables, at, *fields)
