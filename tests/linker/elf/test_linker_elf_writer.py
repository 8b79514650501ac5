"""The ELF writer: read back, the same bytes every time, what it refuses, big payloads."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.codegen.base.errors import FormatError
from relokit.codegen.object import (
    ABSOLUTE,
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
from relokit.linker.elf.elf_reader import read_image, read_object
from relokit.linker.elf.elf_writer import exec_chunks, write_exec, write_rel
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag

A = SectionFlag.ALLOC
AX = A | SectionFlag.EXEC
AW = A | SectionFlag.WRITE
BASE = 0xFFFF_8000_0800_0000

IMAGE = Image(
    "image",
    (
        PlacedSection(".text", BASE, 0x4000_0000, 8, 4, SectionType.PROGBITS, AX, b"codecode"),
        PlacedSection(".far", BASE + 0x20, 0x4000_0020, 3, 8, SectionType.PROGBITS, A, b"far"),
        PlacedSection(".data", BASE + 0x11230, 0x9230, 4, 16, SectionType.PROGBITS, AW, b"data"),
        PlacedSection(".bss", BASE + 0x11240, 0x9240, 99, 16, SectionType.NOBITS, AW, b""),
        PlacedSection(
            ".note", 0, 0, 24, 4, SectionType.NOTE, SectionFlag(0),
            struct.pack("<III", 8, 4, 1) + b"relokit\0\1\2\3\4",
        ),
    ),
    (
        Segment("text", 1, SegmentFlag.R | SegmentFlag.X, (0, 1), 4096),
        Segment("data", 1, SegmentFlag.R | SegmentFlag.W, (2, 3), 65536),
        Segment("note", 4, SegmentFlag.R, (4,), 4),
    ),
    (
        ImageSymbol("$x", BASE, 0, Binding.LOCAL, SymbolType.NOTYPE, 0),
        ImageSymbol("label", BASE + 4, 0, Binding.GLOBAL, SymbolType.NOTYPE, 0),
        ImageSymbol("_start", BASE, 8, Binding.GLOBAL, SymbolType.FUNC, 0),
        ImageSymbol("limit", 77, 0, Binding.GLOBAL, SymbolType.NOTYPE, ABSOLUTE),
        ImageSymbol("maybe", 0, 0, Binding.WEAK, SymbolType.NOTYPE, UNDEFINED),
        ImageSymbol("end", BASE + 0x112A3, 0, Binding.GLOBAL, SymbolType.OBJECT, 3),
        ImageSymbol("späte_marke", BASE + 0x112A3, 4, Binding.WEAK, SymbolType.OBJECT, 3),
    ),
    BASE + 4,
)  # fmt: skip

OBJECT = Object(
    "object.o",
    (
        Section(
            ".text", SectionType.PROGBITS, AX, 4, bytes(16), 16,
            (Relocation(4, R.CALL26, 3, -4), Relocation(8, R.ADR_PREL_PG_HI21, 0, 1 << 40)),
        ),
        Section(".strings", SectionType.PROGBITS, A | SectionFlag.MERGE | SectionFlag.STRINGS, 1,
                b"a\0b\0", 4, entsize=1),
        Section(".data", SectionType.PROGBITS, AW, 8, bytes(8), 8, (Relocation(0, R.ABS64, 2, 0),)),
        Section(".bss", SectionType.NOBITS, AW, 64, b"", 1000),
        Section(".text", SectionType.PROGBITS, AX, 4, b"more", 4,
                (Relocation(0, R.ABS32, 1, 0),)),
    ),
    (
        Symbol("", 1, 0, type=SymbolType.SECTION),
        Symbol("local", 0, 8),
        Symbol("shared", 0, 4, 12, Binding.GLOBAL, SymbolType.FUNC),
        Symbol("outside", UNDEFINED, 0, binding=Binding.GLOBAL),
        Symbol("hidden", 2, 0, 8, Binding.GLOBAL, SymbolType.OBJECT, hidden=True),
        Symbol("weak", 3, 0, binding=Binding.WEAK),
        Symbol("number", ABSOLUTE, 0x1234, binding=Binding.GLOBAL),
    ),
)  # fmt: skip


def test_an_image_comes_back() -> None:
    again = read_image(write_exec(IMAGE), "image")
    assert again.sections == IMAGE.sections
    assert again.entry == IMAGE.entry
    assert [replace(s, name="") for s in again.segments] == [
        replace(s, name="") for s in IMAGE.segments
    ]
    assert set(again.symbols) == set(IMAGE.symbols)


def test_an_object_comes_back() -> None:
    assert read_object(write_rel(OBJECT), "object.o") == OBJECT


def test_locals_come_first_and_relocations_follow_them() -> None:
    symbols = OBJECT.symbols[2:] + OBJECT.symbols[:2]
    moved = [(r, (r.symbol - 2) % 7) for s in OBJECT.sections for r in s.relocations]
    numbers = {id(r): number for r, number in moved}
    sections = tuple(
        replace(s, relocations=tuple(replace(r, symbol=numbers[id(r)]) for r in s.relocations))
        for s in OBJECT.sections
    )
    assert read_object(write_rel(Object("object.o", sections, symbols)), "object.o") == OBJECT


def test_the_bytes_are_the_same_every_time() -> None:
    assert write_exec(IMAGE) == write_exec(IMAGE)
    assert write_rel(OBJECT) == write_rel(OBJECT)


def test_every_content_lies_at_its_address_modulo_the_page() -> None:
    data = write_exec(IMAGE)
    for at, name in ((b"codecode", ".text"), (b"far", ".far"), (b"data", ".data")):
        section = next(s for s in IMAGE.sections if s.name == name)
        assert data.rindex(at) % 4096 == section.va % 4096


def test_empty_images_and_objects() -> None:
    empty = read_image(write_exec(Image("e", (), (), (), 0)), "e")
    assert (empty.sections, empty.symbols) == ((), ())
    assert read_object(write_rel(Object("e", (), ())), "e") == Object("e", (), ())


def test_a_big_payload_is_passed_through_and_not_copied() -> None:
    size = 84 << 20
    payload = bytes(size)
    big = PlacedSection(
        "big", 0x8000_0000, 0x8000_0000, size, 4096, SectionType.PROGBITS, A, payload
    )
    image = Image("big", (big,), (Segment("b", 1, SegmentFlag.R, (0,), 4096),), (), 0)
    next(iter(exec_chunks(IMAGE)))
    tracemalloc.start()
    chunks = list(exec_chunks(image))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert any(chunk is payload for chunk in chunks)
    assert peak < 4 << 20
    assert sum(map(len, chunks)) < size + 8192


def test_a_payload_may_be_a_view() -> None:
    view = memoryview(bytearray(b"codecode"))
    sections = (replace(IMAGE.sections[0], data=view), *IMAGE.sections[1:])
    assert write_exec(replace(IMAGE, sections=sections)) == write_exec(IMAGE)


class Huge(bytes):
    """Claims a length that nobody has memory for."""

    def __len__(self) -> int:
        return 1 << 32


def section_with(**changes: object) -> Image:
    return replace(IMAGE, sections=(replace(IMAGE.sections[0], **changes), *IMAGE.sections[1:]))  # type: ignore[arg-type]


def symbol_with(**changes: object) -> Image:
    return replace(IMAGE, symbols=(replace(IMAGE.symbols[0], **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (section_with(size=1 << 32, data=Huge()), "4294967296 bytes"),
        (section_with(size=9), "has 8 bytes, not 9"),
        (section_with(name="a\0b"), "holds a NUL"),
        (section_with(name="\ud800"), "is no text"),
        (section_with(va=BASE + 0x100), "not in order"),
        (symbol_with(section=9), "section that does not exist"),
        (symbol_with(name="a\0b"), "holds a NUL"),
        (replace(IMAGE, segments=IMAGE.segments[:1] * 2), "in two segments"),
    ],
)
def test_what_no_file_can_hold_is_refused(image: Image, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        write_exec(image)


@pytest.mark.parametrize(
    ("relocation", "words"),
    [
        (Relocation(0, R.CALL26, 7, 0), "names symbol 7"),
        (Relocation(0, R.CALL26, -1, 0), "names symbol -1"),
        (Relocation(0, 4242, 0, 0), "type 4242"),
    ],
)
def test_relocations_that_cannot_be_written(relocation: Relocation, words: str) -> None:
    section = replace(OBJECT.sections[0], relocations=(relocation,))
    with pytest.raises(FormatError, match=words):
        write_rel(Object("o", (section, *OBJECT.sections[1:]), OBJECT.symbols))


# What is not printable is shown as what it is: it could make lines of its own.
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0").filter(str.isprintable),
    min_size=1,
    max_size=12,
)


@st.composite
def objects(draw: st.DrawFn) -> Object:
    counter = itertools.count()
    count = draw(st.integers(1, 4))
    symbols = [
        Symbol(
            f"{draw(NAMES)}{next(counter)}",
            draw(st.sampled_from([UNDEFINED, ABSOLUTE, *range(count)])),
            draw(st.integers(0, 2**64 - 1)),
            draw(st.integers(0, 2**64 - 1)),
            binding,
            draw(st.sampled_from([SymbolType.NOTYPE, SymbolType.FUNC, SymbolType.OBJECT])),
            draw(st.booleans()),
        )
        for binding in sorted(draw(st.lists(st.sampled_from(list(Binding)), max_size=6)))
    ]
    sections = []
    for _ in range(count):
        data = draw(st.binary(max_size=40))
        relocations: tuple[Relocation, ...] = ()
        if symbols and data:
            offsets = draw(st.sets(st.integers(0, len(data) - 1), max_size=3))
            relocations = tuple(
                Relocation(
                    offset,
                    draw(st.sampled_from([kind for kind in R if kind])),
                    draw(st.integers(0, len(symbols) - 1)),
                    draw(st.integers(-(2**63), 2**63 - 1)),
                )
                for offset in sorted(offsets)
            )
        sections.append(
            Section(
                draw(NAMES), SectionType.PROGBITS, draw(st.sampled_from([A, AX, AW])),
                draw(st.sampled_from([1, 4, 64, 4096])), data, len(data), relocations,
            )
        )  # fmt: skip
    return Object("o", tuple(sections), tuple(symbols))


@settings(max_examples=100)
@given(objects())
def test_any_object_comes_back(item: Object) -> None:
    assert read_object(write_rel(item), "o") == item


def test_ctrl_c_while_the_library_is_imported_comes_afterwards(tmp_path: Path) -> None:
    """In the middle of the import it ended the process (SIGABRT)."""
    (tmp_path / "lief.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('whole', flush=True)\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from relokit.codegen.object import Object\n"
        "from relokit.linker.elf.elf_writer import write_rel\n"
        "try:\n    write_rel(Object('x', (), ()))\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["whole", "interrupted"]
