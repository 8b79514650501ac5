"""SIZEOF_HEADERS, the file's headers in segments, and notes that are orphans, against GNU ld."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from relokit.codegen.base.errors import LinkError
from relokit.linker.elf.elf_reader import read_image
from relokit.linker.elf.elf_writer import write_exec
from relokit.linker.elf_format import EHDR, PHDR
from relokit.linker.image import Image
from support.gnu_ld import assemble, compare, contents, gnu_ld, ours, symbols

pytestmark = pytest.mark.oracle

FLAGS = {
    ".text": '"ax",%progbits',
    ".ro": '"a",%progbits',
    ".rw": '"aw",%progbits',
    ".bs": '"aw",%nobits',
    ".note.x": '"a",%note',
    ".note.y": '"a",%note',
    ".ro2": '"a",%progbits',
    ".text2": '"ax",%progbits',
}
BEGINNINGS = [
    ". = 0x10000 + SIZEOF_HEADERS;",
    ". = SIZEOF_HEADERS;",
    "h = SIZEOF_HEADERS;",
    ". = ALIGN(64) + SIZEOF_HEADERS;",
]
STEPS = [". = ALIGN(4096);", ". += 0x20;", ". += 0x3000;", ". = ALIGN(4096) + (. & 4095);"]
STACK = '.section .note.GNU-stack,"",%progbits\n'


def unit(chance: random.Random, names: list[str]) -> str:
    lines = []
    for name in names:
        align, size = chance.choice([1, 4, 8, 64]), chance.choice([1, 16, 16, 4096, 70000])
        lines.append(f".section {name},{FLAGS[name]}\n.balign {align}\n.space {size}\n")
    return "".join(lines) + chance.choice(["", STACK])


def script(chance: random.Random, names: list[str]) -> str:
    parts = [chance.choice(BEGINNINGS)]
    for name in names:
        parts.append(chance.choice(STEPS) if chance.random() < 0.3 else "")
        parts.append(f"o{name} : {{ *({name}) }}")
    return "SECTIONS { " + " ".join(parts) + " } end = SIZEOF_HEADERS;"


@pytest.mark.parametrize("seed", range(40))
def test_headers_are_counted_as_gnu_ld_makes_them(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = chance.sample(list(FLAGS), chance.randint(1, 8))
    objects = [
        assemble(tmp_path, f"u{number}.S", unit(chance, chance.sample(names, len(names))))
        for number in range(chance.randint(1, 2))
    ]
    compare_quietly(tmp_path, script(chance, sorted(names)), objects)


def compare_quietly(folder: Path, text: str, objects: list[Path]) -> None:
    """What both make of it; a segment that would be writable and executable is ours to refuse."""
    reference, said = gnu_ld(folder, text, objects)
    assert reference is not None, said
    image = ours(text, objects)
    assert contents(image) == contents(reference)
    assert values(image) == values(reference)


def values(image: Image) -> dict[str, str]:
    return {one.name: hex(one.value) for one in image.symbols if one.name in ("h", "end")}


def test_nothing_but_a_word_on_the_stack_has_no_header(tmp_path: Path) -> None:
    objects = [assemble(tmp_path, "u.S", STACK)]
    compare(tmp_path, "SECTIONS { h = SIZEOF_HEADERS; }", objects)


LOADED = ["", "", "AT(0x9000)", "AT(0x400000)", "AT(0x10078)", "AT(ADDR(o{name}) + 0x100000)"]
BODIES = [
    "*({name})",
    "*({name})",
    "KEEP(*({name}))",
    "*({name}) x{number} = .;",
    "*({name}) . = ALIGN(16);",
    ". = . + 0; *({name})",
    ". = 0; *({name})",
    "*({name}) . = ALIGN(. != 0 ? 32 : 1);",
]


def loaded_elsewhere(chance: random.Random, names: list[str]) -> tuple[str, str]:
    """An object's source, some of its sections empty, and a script with load addresses."""
    lines, parts = [chance.choice(["", STACK])], [chance.choice(BEGINNINGS)]
    for number, name in enumerate(names):
        lines.append(f".section {name},{FLAGS[name]}\n.balign {chance.choice([1, 4, 8, 64])}\n")
        size = chance.choice([0, 0, 1, 16, 16, 4096, 70000])
        lines.append(f".space {size}\n" if size else "")
        parts.append(chance.choice(STEPS) if chance.random() < 0.3 else "")
        at, body = chance.choice(LOADED), chance.choice(BODIES)
        parts.append(f"o{name} : {at} {{{{ {body} }}}}".format(name=name, number=number))
    parts += [f"l{number} = LOADADDR(o{name});" for number, name in enumerate(names)]
    return "".join(lines), f"SECTIONS {{ {' '.join(parts)} }} end = SIZEOF_HEADERS;"


@pytest.mark.parametrize("block", range(4))
def test_headers_of_what_is_loaded_elsewhere_and_of_empty_sections(
    tmp_path: Path, block: int
) -> None:
    same, refused = 0, []
    for seed in range(block * 20, block * 20 + 20):
        chance = random.Random(seed)
        names = chance.sample(list(FLAGS), chance.randint(1, 8))
        source, text = loaded_elsewhere(chance, names)
        objects = [assemble(tmp_path, "u.S", source)]
        try:
            image = ours(text, objects)
        except LinkError as error:
            refused.append(error.message)
            continue
        reference, said = gnu_ld(tmp_path, text, objects)
        if reference is None:
            assert "not enough room for program headers" in said, (text, said)
            continue
        # Of a load address the symbols tell: GNU ld's segments may lie over one another.
        assert symbols(image) == symbols(reference), text
        assert [(name, row[0], *row[2:]) for name, row in contents(image).items()] == [
            (name, row[0], *row[2:]) for name, row in contents(reference).items()
        ]
        same += 1
    assert same >= 8
    assert all("overlap in load address" in one or "not settled" in one for one in refused)


def test_sections_are_counted_in_the_order_they_are_loaded_in(tmp_path: Path) -> None:
    """The first and the last of these share a header: another lies between them in memory only."""
    source = "".join(f".section .{one},{FLAGS['.ro']}\n.space 16\n" for one in "abc")
    text = (
        "SECTIONS { h = SIZEOF_HEADERS; . = 0x10000; .a : AT(0x20000) { *(.a) } "
        ".b : AT(0x90000) { *(.b) } .c : AT(0x20020) { *(.c) } }"
    )
    objects = [assemble(tmp_path, "u.S", source)]
    reference, said = gnu_ld(tmp_path, text, objects)
    assert reference is not None, said
    assert values(ours(text, objects)) == values(reference) == {"h": hex(64 + 2 * 56)}


def test_headers_that_are_not_known_are_refused_where_they_count(tmp_path: Path) -> None:
    objects = [assemble(tmp_path, "u.S", f".section .ro,{FLAGS['.ro']}\n.word 1\n")]
    note = ".note.gnu.property : { *(.ro) }"
    assert ours(f"SECTIONS {{ . = 0x1000; {note} }}", objects).section_at(0x1000) is not None
    with pytest.raises(LinkError, match=r"SIZEOF_HEADERS with \.note\.gnu\.property.*: describe"):
        ours(f"SECTIONS {{ . = 0x1000 + SIZEOF_HEADERS; {note} }}", objects)


NOTES = [
    "4a 8a",
    "8b 4a 8c",
    "4a 4b q",
    "4a r",
    "4a q 4b r",
    "8a 8b 4a 16a 8c 4b w",
    "4a 8a r q 4b z",
]


@pytest.mark.parametrize("name", NOTES)
@pytest.mark.parametrize("given", ["", "o.zz : { *(.zz) }", ". += 4; o.zz : { *(.zz) } . += 4;"])
def test_notes_stand_by_alignment(tmp_path: Path, name: str, given: str) -> None:
    kinds = {"r": FLAGS[".ro"], "q": FLAGS[".text"], "w": FLAGS[".rw"], "z": FLAGS[".bs"]}
    lines = ['.section .code,"ax"\nnop\n.section .zz,"a",%note\n.balign 4\n.word 1\n']
    for word in name.split():
        flags = kinds.get(word, FLAGS[".note.x"])
        lines.append(f".section .{word}o,{flags}\n.balign {word[:-1] or 1}\n.space 4\n")
    objects = [assemble(tmp_path, "u.S", "".join(lines))]
    text = f"SECTIONS {{ o.code : {{ *(.code) }} {given} }}"
    reference, said = gnu_ld(tmp_path, text, objects)
    assert reference is not None, said
    others = [word for word in name.split() if word in kinds]
    if given and others and name.split().index(others[-1]) > 0:
        with pytest.raises(LinkError, match="notes that are orphans"):
            ours(text, objects)
    else:
        assert contents(ours(text, objects)) == contents(reference)


HELD = ["", "FILEHDR", "PHDRS", "FILEHDR PHDRS", "FILEHDR PHDRS", "PHDRS FLAGS(5)"]
PLACES = [
    ". = 0x10000 + SIZEOF_HEADERS;",
    ". = SIZEOF_HEADERS;",
    ". = 0x20040;",
    ". = 0x80;",
    ". = 0xffffffc008010000;",
    ". = 0x30000 + SIZEOF_HEADERS + 64;",
]
KINDS = [FLAGS[".ro"], FLAGS[".rw"], FLAGS[".text"], FLAGS[".bs"]]


def described(chance: random.Random) -> tuple[str, str]:
    """An object's source and a script: sections in segments that may hold the file's headers."""
    lines, parts, loads = [], [chance.choice(PLACES)], chance.randint(1, 3)
    for number in range(loads):
        for part in range(chance.randint(1, 2)):
            name = f".s{number}{part}"
            flags = FLAGS[".ro"] if number == 0 else KINDS[(number + part * 3) % 4]
            align, size = chance.choice([1, 4, 64, 8192]), chance.choice([0, 4, 16, 5000])
            lines.append(f".section {name},{flags}\n.balign {align}\n.space {size}, {number + 1}\n")
            if flags != FLAGS[".bs"] and size == 0:
                lines.append(".byte 7\n")
            parts.append(f"{name} : {{ *({name}) }} :l{number}")
        parts.append(chance.choice(["", ". = ALIGN(4096);", ". += 0x3000;", ". = ALIGN(65536);"]))
    table = "h PT_PHDR PHDRS; " if chance.random() < 0.3 else ""
    for number in range(loads):
        held = chance.choice(HELD) if number == 0 or chance.random() < 0.1 else ""
        at = chance.choice(["", "", f"AT({0x800000 * (number + 1):#x})"])
        table += f"l{number} PT_LOAD {held} {at}; "
    if chance.random() < 0.2:
        table += "none PT_LOAD;"
    return "".join(lines), f"PHDRS {{ {table} }} SECTIONS {{ {' '.join(parts)} end = .; }}"


def loaded(data: bytes) -> list[tuple[object, ...]]:
    """What a loader reads of an ELF file: the program headers with something in them, and it."""
    header = EHDR.unpack_from(data)
    found = []
    for number in range(header[10]):
        row = PHDR.unpack_from(data, header[5] + PHDR.size * number)
        if row[6]:
            begin = max(row[2], EHDR.size + PHDR.size * header[10])
            stored = data[begin : row[2] + row[5]] if row[0] == 1 else b""
            found.append((*row[:2], *map(hex, row[3:7]), stored.hex()))
            found.append(("offset", row[2] if row[2] < 4096 else row[2] % 4096))
    return found


@pytest.mark.parametrize("block", range(4))
def test_headers_are_loaded_where_gnu_ld_loads_them(tmp_path: Path, block: int) -> None:
    """Random scripts: the same file to a loader, or refused; never something else."""
    same = 0
    for seed in range(block * 25, block * 25 + 25):
        source, text = described(random.Random(seed))
        objects = [assemble(tmp_path, "u.S", source)]
        try:
            image = ours(text, objects)
        except LinkError:
            continue
        reference, said = gnu_ld(tmp_path, text, objects)
        assert reference is not None, (seed, text, said)
        assert contents(image) == contents(reference), (seed, text)
        assert values(image) == values(reference)
        written = (tmp_path / "out.elf").read_bytes()
        assert loaded(write_exec(image)) == loaded(written), (seed, text)
        assert contents(read_image(write_exec(image), "x")) == contents(image)
        same += "FILEHDR" in text
    assert same >= 3


@pytest.mark.parametrize(
    ("headers", "begin", "why"),
    [
        ("a PT_LOAD; b PT_LOAD FILEHDR;", "0x10000", "FILEHDR and PHDRS are of the first PT_LOAD"),
        ("a PT_LOAD FILEHDR;", "0x40", "no room for the file's headers"),
        ("a PT_LOAD FILEHDR; b PT_LOAD;", "0x40", "no room for the file's headers"),
        ("h PT_PHDR PHDRS; a PT_LOAD FILEHDR;", "0x10000", "no PT_LOAD with PHDRS"),
        ("h PT_PHDR; a PT_LOAD FILEHDR PHDRS;", "0x10000", "it has PHDRS"),
        ("a PT_LOAD; n PT_NOTE PHDRS;", "0x10000", "a PT_NOTE"),
        ("a PT_LOAD AT(missing);", "0x10000", "missing is not defined"),
        ("b PT_LOAD FILEHDR; a PT_LOAD;", "0x10000", "headers of the file alone"),
        ("a PT_LOAD FILEHDR FILEHDR;", "0x10000", "FILEHDR twice"),
    ],
)
def test_headers_that_cannot_be_loaded_say_why(
    tmp_path: Path, headers: str, begin: str, why: str
) -> None:
    objects = [assemble(tmp_path, "u.S", f".section .ro,{FLAGS['.ro']}\n.word 1\n")]
    script = f"PHDRS {{ {headers} }} SECTIONS {{ . = {begin}; .ro : {{ *(.ro) }} :a }}"
    with pytest.raises(LinkError, match=why):
        ours(script, objects)


def test_headers_are_not_loaded_over_what_is_there(tmp_path: Path) -> None:
    source = f".section .lo,{FLAGS['.ro']}\n.space 64\n.section .ro,{FLAGS['.ro']}\n.word 1\n"
    script = (
        "PHDRS { a PT_LOAD FILEHDR PHDRS; b PT_LOAD; } "
        "SECTIONS { . = 0x10f80; .lo : { *(.lo) } :b . = 0x11000; .ro : { *(.ro) } :a }"
    )
    with pytest.raises(LinkError, match=r"would be loaded over \.lo, from 0x10000 on"):
        ours(script, [assemble(tmp_path, "u.S", source)])
