"""The headers and tables of a foreign ELF file, checked before they are believed.

A reader of our own rather than LIEF: the input is hostile, and here every offset, count and
index is checked against the file before it is used; LIEF repairs what it can, and logs. Source:
gABI ("Object files"). 64-bit little-endian AArch64 only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from relokit.codegen.aarch64_elf import EM_AARCH64
from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import SectionType
from relokit.linker.elf_format import (
    EHDR,
    ET_DYN,
    ET_EXEC,
    ET_REL,
    PHDR,
    SHDR,
    SHN_ABS,
    SHN_COMMON,
    SHN_LORESERVE,
    SHN_XINDEX,
    SHNDX,
    SHT_STRTAB,
    SHT_SYMTAB,
    SHT_SYMTAB_SHNDX,
    SYM,
)

KINDS = {ET_REL: "relocatable object", ET_EXEC: "executable", ET_DYN: "shared object"}
MAX_SECTIONS = 1 << 17
"""A unit with a section for each function and datum has some ten thousand."""
MAX_SEGMENTS = 64
MAX_SYMBOLS = 1 << 20
"""A vmlinux has some hundred thousand, mapping symbols among them."""
SYMBOL_BYTES, SECTION_BYTES = 400, 400
"""Of memory, for what is made of a symbol, and of a header of a section."""
MAX_NAME = 4096
MAX_ALIGN = 1 << 30


@dataclass(frozen=True, slots=True)
class SectionHeader:
    """A row of the section header table, with its name."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entsize: int


class ElfFile:
    """The checked headers of one ELF file, of one of ``kinds`` (``e_type``)."""

    def __init__(self, data: bytes | memoryview, name: str, *kinds: int) -> None:
        self.view = memoryview(data).cast("B")
        self.name = name
        # Sections and names that lie over each other could ask for far more than the file holds.
        self.allowance = 4 * len(self.view) + (1 << 20)
        if len(self.view) < EHDR.size or bytes(self.view[:4]) != b"\x7fELF":
            raise self.error("is no ELF file")
        if bytes(self.view[4:7]) != b"\x02\x01\x01":
            raise self.error("is no 64-bit little-endian ELF file")
        fields = EHDR.unpack_from(self.view)
        (
            _,
            self.type,
            machine,
            _,
            self.entry,
            phoff,
            shoff,
            _,
            _,
            phsize,
            phnum,
            shsize,
            shnum,
            at,
        ) = fields
        if machine != EM_AARCH64:
            raise self.error(f"is for machine {machine}, not AArch64 ({EM_AARCH64})")
        if self.type not in kinds:
            wanted = " or ".join(f"{KINDS[kind]} ({kind})" for kind in kinds)
            raise self.error(f"is ELF type {self.type}, no {wanted}")
        if shoff and not shnum and shsize == SHDR.size:
            # More than fit into the header: section 0 has the numbers (gABI, e_shnum).
            first = SHDR.unpack(self.range(shoff, SHDR.size, "section header table"))
            shnum, at = first[5], first[6] if at == SHN_XINDEX else at
        if shnum > MAX_SECTIONS or phnum > MAX_SEGMENTS:
            raise self.error(
                f"announces {shnum} sections and {phnum} segments; up to {MAX_SECTIONS} and "
                f"{MAX_SEGMENTS} are read"
            )
        if (shnum and shsize != SHDR.size) or (phnum and phsize != PHDR.size):
            raise self.error("has header tables of an unknown entry size")
        self.segments = list(
            PHDR.iter_unpack(self.range(phoff, phnum * PHDR.size, "program header table"))
        )
        spend(SECTION_BYTES * shnum, "section headers of ELF files", name)
        rows = list(SHDR.iter_unpack(self.range(shoff, shnum * SHDR.size, "section header table")))
        strings = b""
        if rows:
            if at >= len(rows):
                raise self.error("has no section name table")
            strings = self._content(rows[at][1], rows[at][4], rows[at][5], "section name table")
        self.sections = [
            SectionHeader(self.string(strings, row[0], "section name"), *row[1:]) for row in rows
        ]

    def error(self, message: str) -> FormatError:
        """A FormatError about this file."""
        return FormatError(message, where=self.name)

    def range(self, offset: int, size: int, what: str) -> memoryview:
        """``size`` bytes at ``offset``; raises FormatError if the file has them not."""
        if size and offset + size > len(self.view):
            raise self.error(f"{what} ({size} bytes at {offset:#x}) reaches past the end")
        return self.view[offset : offset + size]

    def _spend(self, size: int) -> None:
        self.allowance -= size
        if self.allowance < 0:
            raise self.error("has sections or names that lie over each other")

    def _content(self, kind: int, offset: int, size: int, what: str) -> bytes:
        if kind == SectionType.NOBITS:
            return b""
        view = self.range(offset, size, what)
        self._spend(size)
        spend(size, "sections of ELF files", self.name)
        return bytes(view)

    def copied(self, offset: int, size: int, what: str) -> bytes:
        """``size`` bytes at ``offset``, which the file has."""
        return self._content(SectionType.PROGBITS, offset, size, what)

    def content(self, header: SectionHeader) -> bytes:
        """A section's bytes; none for NOBITS."""
        return self._content(header.type, header.offset, header.size, f"section {header.name}")

    def string(self, table: bytes, offset: int, what: str) -> str:
        """The NUL-terminated string at ``offset`` of a string table."""
        if offset == 0 and not table:
            return ""
        if offset >= len(table):
            raise self.error(f"{what} at {offset:#x} is outside its string table")
        end = table.find(b"\0", offset, offset + MAX_NAME + 1)
        if end < 0:
            raise self.error(f"{what} at {offset:#x} does not end within {MAX_NAME} bytes")
        self._spend(end - offset)
        text = table[offset:end].decode("utf-8", "backslashreplace")
        # A name with a newline would make lines of its own in what is printed.
        return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")

    def entries(
        self, header: SectionHeader, row: struct.Struct, most: int
    ) -> Iterator[tuple[int, ...]]:
        """The rows of a table section."""
        if header.entsize != row.size or header.size % row.size:
            raise self.error(f"section {header.name} has no entries of {row.size} bytes")
        if header.size // row.size > most:
            raise self.error(f"section {header.name} has more than {most} entries")
        rows: Iterator[tuple[int, ...]] = row.iter_unpack(self.content(header))
        return rows

    def symbol_table(self) -> tuple[int, SectionHeader] | None:
        """Index and header of the one SHT_SYMTAB, if there is one."""
        found = [(i, h) for i, h in enumerate(self.sections) if h.type == SHT_SYMTAB]
        if len(found) > 1:
            raise self.error("has several symbol tables")
        return found[0] if found else None

    def symbols(self, table: SectionHeader) -> Iterator[tuple[str, int, int, int, int, int]]:
        """(name, info, other, section number, value, size) of every symbol.

        A section is given by its number, which may be as large as that of a special one: those are
        negative, ``-SHN_ABS`` and ``-SHN_COMMON``.
        """
        if table.link >= len(self.sections) or self.sections[table.link].type != SHT_STRTAB:
            raise self.error("has a symbol table without its string table")
        strings = self.content(self.sections[table.link])
        count = min(table.size // SYM.size, MAX_SYMBOLS)
        spend(SYMBOL_BYTES * count, "symbols of ELF files", self.name)
        numbers = self._section_numbers(table)
        rows = enumerate(self.entries(table, SYM, MAX_SYMBOLS))
        for at, (name, info, other, index, value, size) in rows:
            if index == SHN_XINDEX and at < len(numbers):
                index = numbers[at]
            elif index in (SHN_ABS, SHN_COMMON):
                index = -index
            elif index >= SHN_LORESERVE:
                raise self.error(f"has a symbol in special section {index:#x}, not supported")
            if index >= max(len(self.sections), 1):
                raise self.error(f"has a symbol in section {index}, which does not exist")
            yield self.string(strings, name, "symbol name"), info, other, index, value, size

    def _section_numbers(self, table: SectionHeader) -> tuple[int, ...]:
        """By symbol, the number of its section where that is too large for the symbol itself."""
        for header in self.sections:
            linked = header.type == SHT_SYMTAB_SHNDX and header.link < len(self.sections)
            if linked and self.sections[header.link] is table:
                return tuple(number for (number,) in self.entries(header, SHNDX, MAX_SYMBOLS))
        return ()

    def align(self, header: SectionHeader) -> int:
        """A section's alignment in bytes, checked."""
        align = header.align or 1
        if align & (align - 1) or align > MAX_ALIGN:
            raise self.error(f"section {header.name} has alignment {align:#x}")
        return align
