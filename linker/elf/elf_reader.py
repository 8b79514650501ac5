"""Read a foreign ET_REL as an Object and an ET_EXEC as an Image, strictly; or only its code.

Source: gABI ("Object files") and AAELF64. Thread-local and compressed sections are refused by
name; a section group is read as its members.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.budget import spend
from relokit.codegen.object import (
    ABSOLUTE,
    NO_LINES,
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    Section,
    SectionFlag,
    SectionType,
    Symbol,
    SymbolType,
)
from relokit.linker.elf.elf_file import MAX_ALIGN, ElfFile, SectionHeader
from relokit.linker.elf_format import (
    COMMON,
    ET_DYN,
    ET_EXEC,
    ET_REL,
    PT_LOAD,
    PT_NOTE,
    RELA,
    SHF_COMPRESSED,
    SHF_TLS,
    SHN_ABS,
    SHN_COMMON,
    SHN_UNDEF,
    SHT_FINI_ARRAY,
    SHT_INIT_ARRAY,
    SHT_PREINIT_ARRAY,
    SHT_REL,
    SHT_RELA,
    STV_HIDDEN,
    STV_INTERNAL,
)
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag

MAX_RELOCATIONS = 1 << 24
RELOCATION_BYTES = 200
"""What one takes as an object."""
MAX_NOBITS = 1 << 30

KEPT_FLAGS = (
    SectionFlag.WRITE
    | SectionFlag.ALLOC
    | SectionFlag.EXEC
    | SectionFlag.MERGE
    | SectionFlag.STRINGS
)
SECTION_TYPES = frozenset(SectionType)
ARRAY_TYPES = frozenset({SHT_INIT_ARRAY, SHT_FINI_ARRAY, SHT_PREINIT_ARRAY})
"""Of sections that are data, for others than the linker to find."""
STT_GNU_IFUNC = 10
CODE_KINDS = {
    SymbolType.NOTYPE.value: SymbolType.NOTYPE,
    SymbolType.OBJECT.value: SymbolType.OBJECT,
    SymbolType.FUNC.value: SymbolType.FUNC,
    STT_GNU_IFUNC: SymbolType.FUNC,
}
"""Types of symbols that name code, or what code refers to."""


def _binding(file: ElfFile, info: int, name: str) -> Binding:
    try:
        return Binding(info >> 4)
    except ValueError:
        raise file.error(f"symbol {name} has binding {info >> 4}, not supported") from None


def _symbol_type(file: ElfFile, info: int, name: str) -> SymbolType:
    try:
        return SymbolType(info & 15)
    except ValueError:
        raise file.error(f"symbol {name} has type {info & 15}, not supported") from None


def read_object(data: bytes | memoryview, name: str, *, to_link: bool = True) -> Object:
    """Read an ET_REL as an Object called ``name``; raises FormatError.

    Unless it is ``to_link``, sections are passed over that no code needs in order to be looked at:
    what is thread-local, of an unknown type, or compressed; symbols there are then undefined.

    Kept are PROGBITS, NOTE and NOBITS sections, arrays of pointers if not ``to_link``, and all
    symbols but those of sections that are not kept. A common symbol becomes a NOBITS section
    ``COMMON`` of its own. There is no line map: what debug information says is not read.
    """
    file = ElfFile(data, name, ET_REL)
    numbers: dict[int, int] = {}
    kept: list[SectionHeader] = []
    for index, header in enumerate(file.sections):
        if _is_kept(file, header, to_link):
            numbers[index] = len(kept)
            kept.append(header)
    symbols: list[Symbol] = []
    renumbered: dict[int, int] = {}
    commons: list[Section] = []
    table = file.symbol_table()
    if table is not None:
        for at, row in enumerate(file.symbols(table[1])):
            symbol = _object_symbol(file, row, numbers, len(kept), commons, to_link)
            if at and symbol is not None:
                renumbered[at] = len(symbols)
                symbols.append(symbol)
    if not to_link:
        # Number 0 is no symbol: what refers to it refers to a number (gABI, "Relocation").
        renumbered[0] = len(symbols)
        symbols.append(Symbol("", ABSOLUTE, 0))
    relocations = _relocations(file, table[0] if table else 0, numbers, renumbered)
    sections = [
        Section(
            header.name,
            SectionType.PROGBITS if header.type in ARRAY_TYPES else SectionType(header.type),
            SectionFlag(header.flags) & KEPT_FLAGS,
            file.align(header),
            file.content(header),
            header.size,
            tuple(relocations.get(number, ())),
            NO_LINES,
            header.entsize,
        )
        for number, header in enumerate(kept)
    ]
    return Object(name, tuple(sections + commons), tuple(symbols))


def _is_kept(file: ElfFile, header: SectionHeader, to_link: bool) -> bool:
    alloc = header.flags & SectionFlag.ALLOC and to_link
    if header.flags & SHF_TLS and not to_link:
        return False
    if header.type not in SECTION_TYPES and (to_link or header.type not in ARRAY_TYPES):
        if alloc:
            raise file.error(f"section {header.name} has type {header.type:#x}, not supported")
        return False
    if header.flags & SHF_TLS:
        raise file.error(f"section {header.name} is thread-local, not supported")
    if header.flags & SHF_COMPRESSED:
        if alloc:
            raise file.error(f"section {header.name} is compressed, not supported")
        return False
    if header.type == SectionType.NOBITS and header.size > MAX_NOBITS:
        raise file.error(f"section {header.name} asks for {header.size} bytes")
    return True


def _object_symbol(
    file: ElfFile,
    row: tuple[str, int, int, int, int, int],
    numbers: dict[int, int],
    count: int,
    commons: list[Section],
    to_link: bool,
) -> Symbol | None:
    name, info, other, index, value, size = row
    if not to_link and index >= 0 and index != SHN_UNDEF and index not in numbers:
        return Symbol(name, UNDEFINED, 0)
    if not to_link:
        kind = CODE_KINDS.get(info & 15, SymbolType.NOTYPE)
        kind = SymbolType(info & 15) if info & 15 in (3, 4) else kind
        info = kind | (info & ~15 if info >> 4 in frozenset(Binding) else Binding.GLOBAL << 4)
    if index == SHN_UNDEF:
        section = UNDEFINED
    elif index == -SHN_ABS:
        section = ABSOLUTE
    elif index == -SHN_COMMON:
        # st_value is the alignment (gABI, "Symbol table").
        if value < 1 or value & (value - 1) or value > MAX_ALIGN or size > MAX_NOBITS:
            raise file.error(f"common symbol {name} asks for {size} bytes aligned to {value}")
        section = count + len(commons)
        commons.append(
            Section(
                COMMON,
                SectionType.NOBITS,
                SectionFlag.ALLOC | SectionFlag.WRITE,
                value,
                b"",
                size,
            )
        )
        value = 0
    elif index in numbers:
        section = numbers[index]
    else:
        return None
    return Symbol(
        name,
        section,
        value,
        size,
        _binding(file, info, name),
        _symbol_type(file, info, name),
        other & 3 in (STV_HIDDEN, STV_INTERNAL),
    )


def _relocations(
    file: ElfFile, table: int, numbers: dict[int, int], renumbered: dict[int, int]
) -> dict[int, list[Relocation]]:
    result: dict[int, list[Relocation]] = {}
    total = 0
    for header in file.sections:
        if header.type not in (SHT_RELA, SHT_REL) or header.info not in numbers:
            continue
        if header.type == SHT_REL:
            raise file.error(f"section {header.name} has relocations without addends")
        if header.link != table or not table:
            raise file.error(f"section {header.name} is for another symbol table")
        patched = file.sections[header.info]
        entries = result.setdefault(numbers[header.info], [])
        spend(RELOCATION_BYTES * (header.size // RELA.size), "relocations of ELF files", file.name)
        for offset, info, addend in file.entries(header, RELA, MAX_RELOCATIONS):
            total += 1
            if total > MAX_RELOCATIONS:
                raise file.error(f"has more than {MAX_RELOCATIONS} relocations")
            kind, symbol = info & 0xFFFFFFFF, info >> 32
            if kind == 0:
                continue
            if offset >= patched.size:
                raise file.error(f"section {header.name} patches outside {patched.name}")
            if symbol not in renumbered:
                raise file.error(
                    f"section {header.name} names symbol {symbol}, which does not exist or is "
                    "in a section that is not read"
                )
            entries.append(Relocation(offset, kind, renumbered[symbol], addend))
    return result


def read_image(data: bytes | memoryview, name: str) -> Image:
    """Read an ET_EXEC as an Image called ``name``; raises FormatError.

    Sections come from the section headers; without those, each PT_LOAD becomes one section.
    """
    file = ElfFile(data, name, ET_EXEC)
    loads = [row for row in file.segments if row[0] == PT_LOAD]
    for row in loads:
        if row[6] < row[5] or row[3] + row[6] > MASK64 + 1 or row[4] + row[6] > MASK64 + 1:
            raise file.error(f"segment at {row[3]:#x} has impossible sizes")
        file.range(row[2], row[5], f"segment at {row[3]:#x}")
    numbers: dict[int, int] = {}
    sections: list[PlacedSection] = []
    offsets: list[int] = []
    for index, header in enumerate(file.sections):
        if header.type in SECTION_TYPES and (
            header.flags & SectionFlag.ALLOC or header.type == SectionType.NOTE
        ):
            numbers[index] = len(sections)
            sections.append(_placed(file, header, loads))
            offsets.append(header.offset)
    if not sections:
        for row in loads:
            offsets += [row[2]] * (1 + (row[6] > row[5]))
            sections += _from_segment(file, row, len(sections))
    segments = _segments(file, sections, offsets)
    return Image(name, tuple(sections), segments, _image_symbols(file, numbers), file.entry)


def read_code(data: bytes | memoryview, name: str) -> Image:
    """Read the code of a linked file, ET_EXEC or ET_DYN (a vmlinux is one), as an Image.

    Only sections that are executable or read-only have their bytes. What code does not need is
    passed over where :func:`read_image` refuses it: thread-local data, unknown types. Raises
    FormatError.
    """
    file = ElfFile(data, name, ET_EXEC, ET_DYN)
    numbers: dict[int, int] = {}
    sections: list[PlacedSection] = []
    for index, header in enumerate(file.sections):
        if not header.flags & SectionFlag.ALLOC or header.flags & (SHF_TLS | SHF_COMPRESSED):
            continue
        if header.type not in (SectionType.PROGBITS, SectionType.NOBITS):
            continue
        if header.flags & SectionFlag.WRITE and not header.flags & SectionFlag.EXEC:
            header = replace(header, type=SectionType.NOBITS, size=min(header.size, MAX_NOBITS))
        numbers[index] = len(sections)
        sections.append(_placed(file, header, []))
    if not file.sections:
        for row in file.segments:
            if row[0] == PT_LOAD and row[1] & SegmentFlag.X:
                sections += _from_segment(file, row, len(sections))
    return Image(name, tuple(sections), (), tuple(_code_symbols(file, numbers)), file.entry)


def _code_symbols(file: ElfFile, numbers: dict[int, int]) -> Iterator[ImageSymbol]:
    table = file.symbol_table()
    for name, info, _, index, value, size in file.symbols(table[1]) if table else ():
        kind = CODE_KINDS.get(info & 15)
        if name and kind is not None and index in numbers:
            binding = Binding.LOCAL if info >> 4 == Binding.LOCAL else Binding.GLOBAL
            yield ImageSymbol(name, value, size, binding, kind, numbers[index])


def _placed(file: ElfFile, header: SectionHeader, loads: list[tuple[int, ...]]) -> PlacedSection:
    alloc = bool(header.flags & SectionFlag.ALLOC)
    if header.type == SectionType.NOBITS and header.size > MAX_NOBITS:
        raise file.error(f"section {header.name} asks for {header.size} bytes")
    if header.address + header.size > MASK64 + 1:
        raise file.error(f"section {header.name} runs past the end of the address space")
    va = header.address if alloc else 0
    pa = va
    for _, _, _, vaddr, paddr, _, memsz, _ in loads:
        if alloc and vaddr <= va and va + header.size <= vaddr + memsz:
            pa = paddr + (va - vaddr)
            break
    return PlacedSection(
        header.name,
        va,
        pa,
        header.size,
        file.align(header),
        SectionType(header.type),
        SectionFlag(header.flags) & KEPT_FLAGS,
        file.content(header),
    )


def _from_segment(file: ElfFile, row: tuple[int, ...], number: int) -> list[PlacedSection]:
    _, access, offset, va, pa, filesz, memsz, _ = row
    flags = SectionFlag.ALLOC
    if access & SegmentFlag.W:
        flags |= SectionFlag.WRITE
    if access & SegmentFlag.X:
        flags |= SectionFlag.EXEC
    if memsz - filesz > MAX_NOBITS:
        raise file.error(f"segment at {va:#x} asks for {memsz} bytes")
    result = [
        PlacedSection(
            f"load{number}",
            va,
            pa,
            filesz,
            1,
            SectionType.PROGBITS,
            flags,
            file.copied(offset, filesz, f"segment at {va:#x}"),
        )
    ]
    if memsz > filesz:
        result.append(
            PlacedSection(
                f"load{number}.bss",
                va + filesz,
                pa + filesz,
                memsz - filesz,
                1,
                SectionType.NOBITS,
                flags,
                b"",
            )
        )
    return result


def _segments(
    file: ElfFile, sections: list[PlacedSection], offsets: list[int]
) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for kind, access, offset, va, _, filesz, memsz, align in file.segments:
        if kind == PT_LOAD:
            inside = [
                i
                for i, s in enumerate(sections)
                if s.flags & SectionFlag.ALLOC and va <= s.va and s.va + s.size <= va + memsz
            ]
        elif kind == PT_NOTE:
            inside = [
                i
                for i, s in enumerate(sections)
                if s.type is SectionType.NOTE
                and offset <= offsets[i]
                and offsets[i] + s.size <= offset + filesz
            ]
        else:
            continue
        segments.append(
            Segment(
                f"segment{len(segments)}",
                kind,
                SegmentFlag(access & 7),
                tuple(inside),
                align if align and align & (align - 1) == 0 else 1,
            )
        )
    return tuple(segments)


def _image_symbols(file: ElfFile, numbers: dict[int, int]) -> tuple[ImageSymbol, ...]:
    table = file.symbol_table()
    if table is None:
        return ()
    symbols: list[ImageSymbol] = []
    for name, info, _, index, value, size in file.symbols(table[1]):
        kind = _symbol_type(file, info, name)
        if not name or kind in (SymbolType.SECTION, SymbolType.FILE):
            continue
        section = UNDEFINED if index == SHN_UNDEF else numbers.get(index, ABSOLUTE)
        symbols.append(ImageSymbol(name, value, size, _binding(file, info, name), kind, section))
    return tuple(symbols)
