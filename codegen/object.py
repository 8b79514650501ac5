"""Object: an ET_REL in memory, between the assembler (or an ELF reader) and the linker.

Section, symbol and relocation numbers are the ELF ones (ELF gABI; AAELF64 for ``R_AARCH64_*``),
so that an object read from a foreign ``.o`` and one of ours are the same thing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from enum import IntEnum, IntFlag
from itertools import accumulate

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


class SourceLines:
    """Where the bytes of a section are from: rows of an offset and its line, ascending. A row holds
    from its offset to the next one's.

    They are kept as columns, 20 bytes a row and the text (ADR 71); a SourceLine is made when it is
    asked for. Offsets have 64 bits, lines 32.
    """

    __slots__ = ("_ends", "_files", "_last", "_lines", "_names", "_numbers", "_offsets", "_text")

    def __init__(self, rows: Iterable[tuple[int, SourceLine]] = ()) -> None:
        self._offsets, self._lines, self._files = array("Q"), array("I"), array("I")
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        """Files by number, and the other way."""
        self._text, self._ends = bytearray(), array("I")
        """The texts of all rows, and where each ends."""
        self._last: SourceLine | None = None
        for offset, line in rows:
            self.append(offset, line)

    @classmethod
    def of_columns(
        cls,
        offsets: Sequence[int],
        files: Iterable[str],
        lines: Sequence[int],
        texts: Iterable[str],
    ) -> SourceLines:
        """Of four columns that have as many elements."""
        found = cls()
        found._offsets, found._lines = array("Q", offsets), array("I", lines)
        found._files = array("I", map(found._number, files))
        parts = [_encoded(text) for text in texts]
        found._ends = array("I", accumulate(map(len, parts)))
        found._text = bytearray().join(parts)
        return found

    def append(self, offset: int, line: SourceLine) -> None:
        """One more row, at or behind the last one."""
        self._offsets.append(offset)
        self._files.append(self._number(line.file))
        self._lines.append(line.line)
        self._text += _encoded(line.text)
        self._ends.append(len(self._text))

    def mark(self, offset: int, line: SourceLine) -> None:
        """From ``offset`` on it is ``line``: a row, unless the last one says so already."""
        if line is not self._last:
            if line != self._last:
                self.append(offset, line)
            self._last = line

    def extend(self, other: SourceLines, base: int) -> None:
        """The rows of ``other`` behind these, ``base`` bytes further."""
        for offset, line in other:
            self.append(base + offset, line)

    def within(self, start: int, size: int) -> SourceLines:
        """The rows of ``size`` bytes from ``start`` on, by their offset from there."""
        rows = range(
            max(bisect_right(self._offsets, start) - 1, 0),
            bisect_right(self._offsets, start + size - 1),
        )
        return SourceLines((max(self._offsets[row] - start, 0), self._line(row)) for row in rows)

    def at(self, offset: int) -> SourceLine | None:
        """The line of the byte at ``offset``, if it is known."""
        row = bisect_right(self._offsets, offset)
        return self._line(row - 1) if row else None

    def _number(self, file: str) -> int:
        number = self._numbers.get(file)
        if number is None:
            number = self._numbers[file] = len(self._names)
            self._names.append(file)
        return number

    def _line(self, row: int) -> SourceLine:
        text = self._text[self._ends[row - 1] if row else 0 : self._ends[row]]
        return SourceLine(self._names[self._files[row]], self._lines[row], text.decode(*_ENCODING))

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[tuple[int, SourceLine]]:
        return ((offset, self._line(row)) for row, offset in enumerate(self._offsets))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceLines) and self._columns == other._columns

    def __repr__(self) -> str:
        return f"<{len(self)} source lines>"

    def __hash__(self) -> int:
        return hash(bytes(self._text))

    @property
    def _columns(self) -> tuple[object, ...]:
        return self._offsets, self._names, self._files, self._lines, self._ends, self._text


NO_LINES = SourceLines()
"""Of bytes of which nothing is known."""
_ENCODING = "utf-8", "surrogatepass"


def _encoded(text: str) -> bytes:
    return text.encode(*_ENCODING)


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

    ``lines`` says where they are from, by their offset.
    """

    name: str
    type: SectionType
    flags: SectionFlag
    align: int
    data: bytes
    size: int
    relocations: tuple[Relocation, ...] = ()
    lines: SourceLines = field(default=NO_LINES, repr=False)
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
