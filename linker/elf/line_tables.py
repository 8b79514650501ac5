"""Source lines of an Image as DWARF, for debuggers: which template and line made which bytes.

In version 4 of the format, which everything reads. Source:
DWARF Debugging Information Format, Version 4: 6.2 (line numbers), 6.1.2 (.debug_aranges), 7.5
(.debug_info and .debug_abbrev).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from relokit.codegen.base.budget import spend
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import SectionFlag, SectionType, SourceLine, SymbolType
from relokit.linker.image import Image, PlacedSection

_VERSION, _ARANGES_VERSION, _ADDRESS = 4, 2, 8
_HEADER = struct.Struct("<IH")
"""Bytes behind the first word, and the version."""
_LANGUAGE = 0x8001  # DW_LANG_Mips_Assembler
_TAG_UNIT = 0x11
# Attribute and form: stmt_list, low_pc, high_pc (bytes from there), language, name.
_ATTRIBUTES = ((0x10, 0x17), (0x11, 0x01), (0x12, 0x07), (0x13, 0x05), (0x03, 0x08))
_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE = 1, 2, 3, 4
_END_SEQUENCE, _SET_ADDRESS = b"\x00\x01\x01", b"\x00\x09\x02"
ROW_BYTES = 64
"""What the statement of an address takes: written, and before."""
_OPERANDS = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))
"""Of each standard opcode."""
_LINE_BASE, _LINE_RANGE = 1, 1


@dataclass(frozen=True, slots=True)
class _Unit:
    """``rows`` of lines by their address, the first one at ``start``; the last ends at ``end``."""

    rows: tuple[tuple[int, SourceLine], ...]
    end: int

    @property
    def start(self) -> int:
        return self.rows[0][0]

    @property
    def size(self) -> int:
        return self.end - self.start


def with_lines(image: Image) -> Image:
    """``image`` with sections for debuggers behind its own; the same one if it has no lines."""
    info, line, aranges = bytearray(), bytearray(), bytearray()
    rows = sum(len(section.lines) for section in image.sections)
    spend(ROW_BYTES * rows, "line tables that are written", image.name)
    for unit in _units(image):
        aranges += _aranges(unit, len(info))
        info += _info(unit, len(line))
        line += _line_program(unit)
    if not info:
        return image
    parts = (
        (".debug_abbrev", _abbreviations()),
        (".debug_info", info),
        (".debug_line", line),
        (".debug_aranges", aranges),
    )
    more = (
        PlacedSection(name, 0, 0, len(data), 1, SectionType.PROGBITS, SectionFlag(0), bytes(data))
        for name, data in parts
    )
    return replace(image, sections=(*image.sections, *more))


def _units(image: Image) -> Iterator[_Unit]:
    """One for each routine, and for what is between two: a debugger takes a routine for assembly,
    and halts at its first instruction, if its file is that of its unit.
    """
    for index, section in enumerate(image.sections):
        if not section.lines or not section.flags & SectionFlag.ALLOC:
            continue
        end = section.va + section.size
        cuts = {section.va, end}
        for one in image.symbols:
            if one.section == index and one.type is SymbolType.FUNC:
                cuts |= {one.value, min(one.value + one.size, end)}
        lines = [(section.va + offset, source) for offset, source in section.lines]
        for first, last in pairwise(sorted(cuts)):
            at = bisect_left(lines, first, key=lambda row: row[0])
            behind = bisect_left(lines, last, key=lambda row: row[0])
            if at < behind:
                yield _Unit(tuple(lines[at:behind]), last)


def _abbreviations() -> bytes:
    fields = b"".join(_unsigned(name) + _unsigned(form) for name, form in _ATTRIBUTES)
    return b"\x01" + _unsigned(_TAG_UNIT) + b"\x00" + fields + b"\x00\x00" + b"\x00"


def _info(unit: _Unit, lines_at: int) -> bytes:
    body = struct.pack("<IB", 0, _ADDRESS) + b"\x01"
    body += struct.pack("<IQQH", lines_at, unit.start, unit.size, _LANGUAGE)
    return _sized(_VERSION, body + unit.rows[0][1].file.encode() + b"\x00")


def _aranges(unit: _Unit, info_at: int) -> bytes:
    # The header ends at a multiple of twice the size of an address.
    body = struct.pack("<IBBI", info_at, _ADDRESS, 0, 0)
    return _sized(_ARANGES_VERSION, body + struct.pack("<QQQQ", unit.start, unit.size, 0, 0))


def _line_program(unit: _Unit) -> bytes:
    files: dict[str, int] = {}
    for _, source in unit.rows:
        files.setdefault(source.file, len(files) + 1)
    # Bytes of an instruction, operations in one, whether a row is a statement.
    header = bytes((1, 1, 1)) + struct.pack("<bBB", _LINE_BASE, _LINE_RANGE, len(_OPERANDS) + 1)
    header += _OPERANDS + b"\x00"
    header += b"".join(file.encode() + b"\x00\x00\x00\x00" for file in files) + b"\x00"
    rows = b"".join(_rows(unit, files))
    return _sized(_VERSION, struct.pack("<I", len(header)) + header + rows)


def _rows(unit: _Unit, files: dict[str, int]) -> Iterator[bytes]:
    yield _SET_ADDRESS + struct.pack("<Q", unit.start)
    at, last, file = unit.start, 1, 1
    for address, source in unit.rows:
        if files[source.file] != file:
            file = files[source.file]
            yield bytes((_SET_FILE,)) + _unsigned(file)
        yield bytes((_ADVANCE_PC,)) + _unsigned(address - at)
        yield bytes((_ADVANCE_LINE,)) + _signed(source.line - last) + bytes((_COPY,))
        at, last = address, source.line
    yield bytes((_ADVANCE_PC,)) + _unsigned(unit.end - at) + _END_SEQUENCE


def _sized(version: int, body: bytes) -> bytes:
    return _HEADER.pack(len(body) + 2, version) + body


def _unsigned(value: int) -> bytes:
    """LEB128."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def _signed(value: int) -> bytes:
    """LEB128, signed."""
    found = bytearray()
    while not -0x40 <= value < 0x40:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value & 0x7F))
