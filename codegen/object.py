"""Object: an ET_REL in memory, between the assembler (or an ELF reader) and the linker.

Section, symbol and relocation numbers are the ELF ones (ELF gABI; AAELF64 for ``R_AARCH64_*``),
so that an object read from a foreign ``.o`` and one of ours are the same thing.
"""

from __future__ import annotations

from dataclasses import field
from enum import IntEnum, IntFlag

from relokit.codegen.base.nouns import dataclass


class SectionType(IntEnum):
    """``sh_type`` (gABI, section header)."""

    PROGBITS = 1
    NOTE = 7
    NOBITS = 8


class SectionFlag(IntFlag):
    """``sh_flags`` (gABI, section header)."""

    WRITE = 0x1
    ALLOC = 0x2
    EXEC = 0x4
    MERGE = 0x10
    STRINGS = 0x20


class Binding(IntEnum):
    """``ELF64_ST_BIND``."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


class SymbolType(IntEnum):
    """``ELF64_ST_TYPE``."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4


UNDEFINED = -1
"""``Symbol.section`` of a symbol that another object must define (SHN_UNDEF)."""
ABSOLUTE = -2
"""``Symbol.section`` of a symbol whose value is a number, not a place (SHN_ABS)."""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """Where emitted bytes come from: template (or file), 1-based line, the statement."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Relocation:
    """A field the linker fills: byte offset in its section, R_AARCH64_*, symbol index, addend."""

    offset: int
    type: int
    symbol: int
    addend: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section's bytes. ``data`` is empty for NOBITS, ``size`` is in bytes either way.

    ``lines`` maps offsets to source, ascending: an entry holds from its offset to the next one's.
    """

    name: str
    type: SectionType
    flags: SectionFlag
    align: int
    data: bytes
    size: int
    relocations: tuple[Relocation, ...] = ()
    lines: tuple[tuple[int, SourceLine], ...] = field(default=(), repr=False)
    entsize: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol: ``section`` indexes ``Object.sections``, or is UNDEFINED or ABSOLUTE."""

    name: str
    section: int
    value: int
    size: int = 0
    binding: Binding = Binding.LOCAL
    type: SymbolType = SymbolType.NOTYPE
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Object:
    """Sections, symbols and relocations of one unit; ``name`` is for messages and ``*file``."""

    name: str
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

    def section(self, name: str) -> Section:
        """Return the first section called ``name``; raises KeyError."""
        for section in self.sections:
            if section.name == name:
                return section
        raise KeyError(name)

    def symbol(self, name: str) -> Symbol:
        """Return the first symbol called ``name``; raises KeyError."""
        for symbol in self.symbols:
            if symbol.name == name:
                return symbol
        raise KeyError(name)
