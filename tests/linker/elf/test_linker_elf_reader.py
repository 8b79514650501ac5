"""The ELF reader on hostile files: an error by name, or an object; never anything else."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.codegen.base.errors import FormatError
from relokit.codegen.object import (
    ABSOLUTE,
    Binding,
    Object,
    Relocation,
    Section,
    SectionFlag,
    SectionType,
    Symbol,
    SymbolType,
)
from relokit.linker.elf.elf_reader import MAX_NOBITS, read_image, read_object
from relokit.linker.elf.elf_writer import write_exec, write_rel
from relokit.linker.elf_format import EHDR, PHDR, SHDR, SYM
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag

A = SectionFlag.ALLOC
AX = A | SectionFlag.EXEC

OBJECT = Object(
    "o",
    (
        Section(".text", SectionType.PROGBITS, AX, 4, bytes(8), 8,
                (Relocation(4, R.CALL26, 1, 0),)),
        Section(".bss", SectionType.NOBITS, A, 8, b"", 64),
    ),
    (
        Symbol("here", 0, 4),
        Symbol("there", -1, 0, binding=Binding.GLOBAL),
        Symbol("size", ABSOLUTE, 9, binding=Binding.GLOBAL),
    ),
)  # fmt: skip
REL = write_rel(OBJECT)

IMAGE = Image(
    "i",
    (
        PlacedSection(".text", 0x1000, 0x8000, 8, 4, SectionType.PROGBITS, AX, b"codecode"),
        PlacedSection(".bss", 0x2000, 0x9000, 64, 8, SectionType.NOBITS, A, b""),
    ),
    (Segment("t", 1, SegmentFlag(5), (0,), 4096), Segment("b", 1, SegmentFlag(4), (1,), 4096)),
    (ImageSymbol("_start", 0x1000, 8, Binding.GLOBAL, SymbolType.FUNC, 0),),
    0x1000,
)
EXEC = write_exec(IMAGE)

SHOFF = 40
NAMES = "name type flags address offset size link info align entsize"
TEXT = 1


def rows(data: bytes) -> list[list[int]]:
    start = struct.unpack_from("<Q", data, SHOFF)[0]
    count = struct.unpack_from("<H", data, 60)[0]
    return [list(SHDR.unpack_from(data, start + SHDR.size * at)) for at in range(count)]


def with_row(data: bytes, number: int, **changes: int) -> bytes:
    names = [
        "name",
        "type",
        "flags",
        "address",
        "offset",
        "size",
        "link",
        "info",
        "align",
        "entsize",
    ]
    start = struct.unpack_from("<Q", data, SHOFF)[0]
    row = rows(data)[number]
    for name, value in changes.items():
        row[names.index(name)] = value
    result = bytearray(data)
    SHDR.pack_into(result, start + SHDR.size * number, *row)
    return bytes(result)


def with_bytes(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def symbol_table(data: bytes) -> tuple[int, int]:
    """Number of the symbol table's row, and where its second symbol lies."""
    number = next(at for at, row in enumerate(rows(data)) if row[1] == 2)
    return number, rows(data)[number][4] + SYM.size


def rela(data: bytes) -> tuple[int, int]:
    number = next(at for at, row in enumerate(rows(data)) if row[1] == 4)
    return number, rows(data)[number][4]


def refused(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        read_object(data, "hostile.o")
    assert caught.value.where == "hostile.o"


def test_the_headers_are_checked_before_they_are_believed() -> None:
    refused(b"", "no ELF file")
    refused(b"\x7fELF", "no ELF file")
    refused(with_bytes(REL, 4, b"\x01"), "no 64-bit little-endian")
    refused(with_bytes(REL, 5, b"\x02"), "no 64-bit little-endian")
    refused(with_bytes(REL, 18, b"\x3e\x00"), "machine 62, not AArch64")
    refused(EXEC, "ELF type 2, no relocatable object")
    refused(with_bytes(REL, SHOFF, b"\xff" * 8), "section header table .* past the end")
    refused(with_bytes(REL, 58, b"\x20\x00"), "entry size")
    refused(with_bytes(REL, 60, b"\xff\xff"), "section header table .* reaches past")
    refused(with_bytes(REL, 62, b"\x77\x00"), "no section name table")
    with pytest.raises(FormatError, match="no executable"):
        read_image(REL, "x")


def test_sections_must_lie_in_the_file_and_make_sense() -> None:
    refused(with_row(REL, TEXT, size=1 << 40), r"section \.text .* past the end")
    refused(with_row(REL, TEXT, offset=1 << 63), "past the end")
    refused(with_row(REL, TEXT, align=3), "alignment 0x3")
    refused(with_row(REL, TEXT, align=1 << 50), "alignment")
    refused(with_row(REL, TEXT, name=0xFFFF), "outside its string table")
    refused(with_row(REL, TEXT, type=14), "type 0xe, not supported")
    refused(with_row(REL, TEXT, flags=0x402), "thread-local")
    refused(with_row(REL, TEXT, flags=0x802), "compressed")
    refused(with_row(REL, 2, size=MAX_NOBITS + 1), "asks for 1073741825 bytes")


def test_symbols_must_have_a_section_a_name_and_a_known_kind() -> None:
    number, at = symbol_table(REL)
    refused(with_row(REL, number, entsize=16), "entries of 24 bytes")
    refused(with_row(REL, number, size=25), "entries of 24 bytes")
    refused(with_row(REL, number, link=99), "without its string table")
    refused(with_row(REL, number, link=TEXT), "without its string table")
    refused(with_row(REL, TEXT, type=2, flags=0), "several symbol tables")
    refused(with_bytes(REL, at, b"\xff\xff\xff\x7f"), "outside its string table")
    refused(with_bytes(REL, at + 4, b"\xa0"), "binding 10")
    refused(with_bytes(REL, at + 4, b"\x06"), "type 6")
    refused(with_bytes(REL, at + 6, b"\x63\x00"), "section 99, which does not exist")
    refused(with_bytes(REL, at + 6, b"\xff\xff"), "special section 0xffff")


def test_relocations_must_point_at_what_is_there() -> None:
    number, at = rela(REL)
    refused(with_bytes(REL, at, b"\x08"), r"patches outside \.text")
    refused(with_bytes(REL, at + 12, b"\x09"), "names symbol 9")
    refused(with_row(REL, number, link=1), "another symbol table")
    refused(with_row(REL, number, type=9), "without addends")
    refused(with_row(REL, number, entsize=1), "entries of 24 bytes")


def test_common_symbols_get_a_section_of_their_own() -> None:
    _, at = symbol_table(REL)
    common = SYM.pack(0, 0x11, 0, 0xFFF2, 32, 100)
    item = read_object(with_bytes(REL, at, common), "c.o")
    assert item.sections[2].name == "COMMON"
    assert (item.sections[2].align, item.sections[2].size) == (32, 100)
    assert (item.symbols[0].section, item.symbols[0].value) == (2, 0)
    refused(with_bytes(REL, at, SYM.pack(0, 0x11, 0, 0xFFF2, 3, 100)), "aligned to 3")
    refused(with_bytes(REL, at, SYM.pack(0, 0x11, 0, 0xFFF2, 8, 1 << 60)), "aligned to 8")


def test_segments_must_lie_in_the_file() -> None:
    start = EHDR.size
    fields = list(PHDR.unpack_from(EXEC, start))
    for index, value in (
        (2, 1 << 62),
        (5, 1 << 62),
        (6, 1),
        (3, (1 << 64) - 4),
        (4, (1 << 64) - 4),
    ):
        broken = list(fields)
        broken[index] = value
        with pytest.raises(FormatError):
            read_image(with_bytes(EXEC, start, PHDR.pack(*broken)), "x")


def test_an_executable_without_section_headers_is_read_by_its_segments() -> None:
    bare = with_bytes(EXEC, 60, b"\0\0\0\0")
    bare = with_bytes(bare, SHOFF, bytes(8))
    image = read_image(bare, "x")
    assert [(s.va, s.pa, s.size, s.data) for s in image.sections] == [
        (0x1000, 0x8000, 8, b"codecode"),
        (0x2000, 0x9000, 0, b""),
        (0x2000, 0x9000, 64, b""),
    ]
    assert image.entry == 0x1000


def peak(data: bytes) -> int:
    tracemalloc.start()
    with pytest.raises(FormatError, match="over each other"):
        read_object(data, "bomb.o")
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return used


def bomb(payload: int, row: bytes, count: int) -> bytes:
    head = EHDR.pack(
        b"\x7fELF\x02\x01\x01" + bytes(9), 1, 183, 1, 0, 0, EHDR.size + payload, 0, 64, 0, 0, 64,
        count, 1,
    )  # fmt: skip
    strings = SHDR.pack(0, 3, 0, 0, EHDR.size, payload, 0, 0, 1, 0)
    return (
        head
        + b"\0"
        + b"a" * (payload - 2)
        + b"\0"
        + SHDR.pack(*[0] * 10)
        + strings
        + row * (count - 2)
    )


def test_many_sections_over_the_same_bytes_do_not_multiply_them() -> None:
    payload = 1 << 20
    sections = SHDR.pack(payload - 1, 1, 2, 0, EHDR.size, payload, 0, 0, 1, 0)
    assert peak(bomb(payload, sections, 4000)) < 40 * payload


def test_many_names_over_the_same_bytes_do_not_multiply_them() -> None:
    payload = 1 << 16
    names = SHDR.pack(payload - 4000, 8, 2, 0, 0, 0, 0, 0, 1, 0)
    assert peak(bomb(payload, names, 8000)) < 200 * payload


MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, max(len(REL), len(EXEC)) - 1),
        st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])),
        st.integers(1, 8),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=200)
@given(MUTATIONS, st.integers(0, 4000))
def test_mutated_files_are_read_or_refused(changes: list[tuple[int, int, int]], cut: int) -> None:
    for source, read in ((REL, read_object), (EXEC, read_image)):
        data = bytearray(source)
        for offset, value, count in changes:
            data[offset : offset + count] = bytes([value]) * min(count, max(0, len(data) - offset))
        for mutant in (bytes(data), bytes(data[: len(data) - cut])):
            try:
                result = read(mutant, "mutant")
            except FormatError as error:
                assert error.where == "mutant"  # noqa: PT017
            else:
                assert sum(len(section.data) for section in result.sections) < 1 << 21


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_noise_after_a_good_header_is_read_or_refused(noise: bytes) -> None:
    for source in (REL, EXEC):
        data = source[:64] + noise
        for read in (read_object, read_image):
            try:
                read(data, "noise")
            except FormatError:
                continue


def test_a_relocation_against_a_number_is_read_to_be_compared() -> None:
    """GNU as writes ``b 0x1234`` with symbol 0."""
    relocation = Relocation(0, R.JUMP26, 0, 0x1234)
    text = Section(".text", SectionType.PROGBITS, SectionFlag(6), 4, bytes(4), 4, (relocation,))
    made = Object("x.o", (text,), (Symbol("x", ABSOLUTE, 7, binding=Binding.LOCAL),))
    data = bytearray(write_rel(made))
    at = data.index(struct.pack("<QQq", 0, 1 << 32 | int(R.JUMP26), 0x1234))
    data[at + 12 : at + 16] = bytes(4)
    found = read_object(bytes(data), "x.o", to_link=False)
    (one,) = found.sections[0].relocations
    assert (found.symbols[one.symbol].section, one.addend) == (ABSOLUTE, 0x1234)
    with pytest.raises(FormatError, match="symbol 0"):
        read_object(bytes(data), "x.o")
