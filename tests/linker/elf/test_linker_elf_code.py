"""The code of linked files of any origin: what it does not need is passed over."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.codegen.object import Binding, SectionFlag, SectionType, SymbolType
from relokit.linker.elf.elf_reader import read_code, read_image
from relokit.linker.elf.elf_writer import write_exec
from relokit.linker.elf_format import EHDR, SHDR, SHT_SYMTAB, SYM
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag

RX = SectionFlag.ALLOC | SectionFlag.EXEC
CODE = struct.pack("<4I", 0xD503201F, 0xD65F03C0, 0xD503201F, 0xD65F03C0)
IMAGE = Image(
    "image",
    (
        PlacedSection(".text", 0x10000, 0x10000, 16, 8, SectionType.PROGBITS, RX, CODE),
        PlacedSection(
            ".data", 0x20000, 0x20000, 8, 8, SectionType.PROGBITS,
            SectionFlag.ALLOC | SectionFlag.WRITE, b"12345678",
        ),
    ),
    (
        Segment("text", 1, SegmentFlag.R | SegmentFlag.X, (0,), 4096),
        Segment("data", 1, SegmentFlag.R | SegmentFlag.W, (1,), 4096),
    ),
    (
        ImageSymbol("first", 0x10000, 8, Binding.GLOBAL, SymbolType.FUNC, 0),
        ImageSymbol("second", 0x10008, 8, Binding.GLOBAL, SymbolType.FUNC, 0),
        ImageSymbol("number", 0x20000, 8, Binding.GLOBAL, SymbolType.OBJECT, 1),
    ),
    0x10000,
)  # fmt: skip
FILE = write_exec(IMAGE)
ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
STT_TLS, STT_GNU_IFUNC = 6, 10


def typed(kind: int, data: bytes = FILE) -> bytes:
    return data[:16] + struct.pack("<H", kind) + data[18:]


def with_symbol(name: str, info: int) -> bytes:
    """FILE, where the symbol called ``name`` has another st_info."""
    data = bytearray(FILE)
    shoff, shnum = EHDR.unpack_from(data)[6], EHDR.unpack_from(data)[12]
    rows = [SHDR.unpack_from(data, shoff + SHDR.size * at) for at in range(shnum)]
    table = next(row for row in rows if row[1] == SHT_SYMTAB)
    strings = rows[table[6]]
    for at in range(table[4], table[4] + table[5], SYM.size):
        start = strings[4] + SYM.unpack_from(data, at)[0]
        if data[start : data.index(b"\0", start)] == name.encode():
            data[at + 4] = info
    return bytes(data)


@pytest.mark.parametrize("kind", [ET_EXEC, ET_DYN])
def test_code_and_what_it_is_called(kind: int) -> None:
    strict, found = read_image(FILE, "x"), read_code(typed(kind), "x")
    (text,) = [one for one in found.sections if one.flags & SectionFlag.EXEC]
    assert (text.va, text.pa, bytes(text.data)) == (0x10000, 0x10000, CODE)
    named = {(one.name, one.value, one.size, one.type) for one in found.symbols}
    assert named == {(one.name, one.value, one.size, one.type) for one in strict.symbols}
    # Data has a place, so that what refers to it has a name, and no bytes.
    (data,) = [one for one in found.sections if one.name == ".data"]
    assert (data.va, data.size, data.type, data.data) == (0x20000, 8, SectionType.NOBITS, b"")


def test_an_object_is_not_linked() -> None:
    with pytest.raises(FormatError, match=r"no executable \(2\) or shared object \(3\)"):
        read_code(typed(ET_REL), "x")


def test_thread_local_symbols_are_passed_over_and_indirect_functions_are_functions() -> None:
    local = with_symbol("number", STT_TLS)
    with pytest.raises(FormatError, match="symbol number has type 6"):
        read_image(local, "x")
    assert [one.name for one in read_code(local, "x").symbols] == ["first", "second"]
    indirect = read_code(with_symbol("first", 1 << 4 | STT_GNU_IFUNC), "x")
    assert [one.type for one in indirect.symbols if one.name == "first"] == [SymbolType.FUNC]


def test_without_sections_there_are_segments() -> None:
    data = bytearray(FILE)
    fields = list(EHDR.unpack_from(data))
    fields[6] = fields[12] = fields[13] = 0
    EHDR.pack_into(data, 0, *fields)
    (text,) = read_code(bytes(data), "x").sections
    assert (text.va, bytes(text.data)) == (0x10000, CODE)


@settings(max_examples=300)
@given(st.data())
def test_damage_is_refused_or_read(data: st.DataObject) -> None:
    content = bytearray(typed(ET_DYN))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 8))
        value = data.draw(st.sampled_from([0, 1, 0xFF, 1 << 31, (1 << 64) - 1, 1 << 40]))
        content[at : at + 8] = struct.pack("<Q", value)
    try:
        found = read_code(bytes(content[: data.draw(st.integers(0, len(content)))]), "x")
    except FormatError:
        return
    assert sum(len(one.data) for one in found.sections) <= 4 * len(content) + (1 << 20)
