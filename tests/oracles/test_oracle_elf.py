"""Other readers on what the ELF writer wrote: readelf, eu-elflint, pyelftools, GNU ld, ld.lld."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from relokit.codegen.object import Object, SectionFlag, SectionType, SymbolType
from relokit.codegen.source import Unit
from relokit.linker.elf.elf_reader import read_image, read_object
from relokit.linker.elf.elf_writer import write_exec, write_rel
from relokit.linker.image import Image
from relokit.linker.link.linking import link
from relokit.linker.link.merge import merge_objects

pytestmark = pytest.mark.oracle

TOOLS = ["aarch64-linux-gnu-as", "aarch64-linux-gnu-ld", "aarch64-linux-gnu-readelf"]
READELF = "aarch64-linux-gnu-readelf"
LINKERS = [["aarch64-linux-gnu-ld", "-z", "max-page-size=4096"], ["ld.lld", "--no-relax"]]

UNITS = {
    "one.S": """
        .text
        .globl _start
        .type _start, %function
_start: bl helper
        adrp x0, message
        add x0, x0, :lo12:message
        ldr x1, [x0, :lo12:count]
        cbz x1, 1f
        b.ne two_start
1:      ret
        .size _start, . - _start
        .section .rodata,"a"
message: .asciz "hello"
        .balign 8
        .quad _start, message, two_data
        .word helper - .
        .bss
        .balign 64
scratch: .space 100
        .globl scratch_end
        .hidden scratch_end
scratch_end:
        """,
    "two.S": """
        .text
        .balign 32
        .globl helper, two_start
        .type helper, %function
helper: adr x0, .Lhere
        tbz x0, #3, helper
.Lhere: ret
        .size helper, . - helper
two_start: b _start
        .data
        .weak maybe
        .quad maybe
        .globl count, two_data
        .type count, %object
        .size count, 8
count:  .quad 3
two_data: .quad scratch_end
        .section .empty,"aw"
        // One note: name "relokit", type 1, 6 bytes (padded) of description.
        .section .note.relokit,"a",%note
        .word 8, 6, 1
        .asciz "relokit"
        .asciz "v1 s15"
        .balign 4
        """,
}

SCRIPT = """
ENTRY(_start)
PHDRS { text PT_LOAD FLAGS(5); rodata PT_LOAD FLAGS(4); data PT_LOAD FLAGS(6); note PT_NOTE; }
SECTIONS
{
    . = 0xffff800008000000;
    .text : AT(ADDR(.text) - 0xffff7fffc8000000) { *(.text .text.*) etext = .; } :text
    . = ALIGN(4096);
    .rodata : AT(ADDR(.rodata) - 0xffff7fffc8000000) { *(.rodata) } :rodata
    .note.relokit : AT(ADDR(.note.relokit) - 0xffff7fffc8000000) { *(.note.relokit) } :rodata :note
    . = ALIGN(4096);
    .data : AT(ADDR(.data) - 0xffff7fffc8000000) { *(.data .empty) } :data
    .bss : AT(ADDR(.bss) - 0xffff7fffc8000000) { *(.bss) end = .; } :data
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elf")


@pytest.fixture(scope="module")
def objects(folder: Path) -> list[Object]:
    for tool in [*TOOLS, "ld.lld", "eu-elflint"]:
        assert shutil.which(tool), f"{tool} is needed"
    result = []
    for name, text in UNITS.items():
        (folder / name).write_text(text)
        target = folder / f"{name[:-2]}.o"
        subprocess.run(["aarch64-linux-gnu-as", "-o", target, folder / name], check=True)
        result.append(read_object(target.read_bytes(), target.name))
    return result


@pytest.fixture(scope="module")
def image(objects: list[Object]) -> Image:
    return link(objects, Unit.from_text("t.ld", SCRIPT), name="t")


def complaints(path: Path) -> list[str]:
    """What eu-elflint and readelf do not like."""
    lint = subprocess.run(["eu-elflint", "--strict", path], capture_output=True, text=True)
    lines = [line for line in (lint.stdout + lint.stderr).splitlines() if line]
    reader = subprocess.run([READELF, "-aW", path], capture_output=True, text=True, check=True)
    lines += [line for line in reader.stdout.splitlines() if "arning" in line or "rror" in line]
    lines += reader.stderr.splitlines()
    # elflint knows the notes of the GNU tools only.
    return [
        line for line in lines if line != "No errors" and "unknown object file note" not in line
    ]


def test_the_executable_is_clean(folder: Path, image: Image) -> None:
    (folder / "t.elf").write_bytes(write_exec(image))
    assert complaints(folder / "t.elf") == []


def test_the_objects_are_clean(folder: Path, objects: list[Object]) -> None:
    for item in [*objects, merge_objects(objects, "joined.o")]:
        (folder / "rel.o").write_bytes(write_rel(item))
        assert complaints(folder / "rel.o") == []


def test_pyelftools_reads_the_image_that_was_written(image: Image) -> None:
    elf = ELFFile(io.BytesIO(write_exec(image)))
    assert elf["e_type"] == "ET_EXEC"
    assert elf["e_entry"] == image.entry
    for section in image.sections:
        read = elf.get_section_by_name(section.name)
        assert (read["sh_addr"], read["sh_size"]) == (section.va, section.size)
        assert (read["sh_addralign"], read["sh_flags"]) == (section.align, section.flags)
        if section.type is not SectionType.NOBITS:
            assert read.data() == section.data
    loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
    assert len(loads) == 3
    for segment, planned in zip(loads, image.segments, strict=False):
        first = image.sections[planned.sections[0]]
        assert (segment["p_vaddr"], segment["p_paddr"]) == (first.va, first.pa)
        assert segment["p_flags"] == planned.flags
        assert segment["p_offset"] % segment["p_align"] == first.va % segment["p_align"]
        for index in planned.sections:
            assert segment.section_in_segment(elf.get_section_by_name(image.sections[index].name))
    symbols = {
        (s.name, s["st_value"], s["st_size"], s["st_info"]["bind"][4:], s["st_info"]["type"][4:])
        for s in elf.get_section_by_name(".symtab").iter_symbols()
        if s.name
    }
    assert symbols == {
        (s.name, s.value, s.size, s.binding.name, s.type.name) for s in image.symbols
    }
    notes = [n for s in elf.iter_segments() if s["p_type"] == "PT_NOTE" for n in s.iter_notes()]
    assert [(note["n_name"], note["n_descsz"]) for note in notes] == [("relokit", 6)]


def test_pyelftools_reads_the_object_that_was_written(objects: list[Object]) -> None:
    item = objects[0]
    elf = ELFFile(io.BytesIO(write_rel(item)))
    table = elf.get_section_by_name(".symtab")
    names = [symbol.name or f"section {symbol['st_shndx']}" for symbol in table.iter_symbols()]
    for section in item.sections:
        if not section.relocations:
            continue
        rela = elf.get_section_by_name(f".rela{section.name}")
        assert elf.get_section(rela["sh_info"]).name == section.name
        read = [
            (r["r_offset"], r["r_info_type"], names[r["r_info_sym"]], r["r_addend"])
            for r in rela.iter_relocations()
        ]
        written = []
        for r in section.relocations:
            symbol = item.symbols[r.symbol]
            name = symbol.name or f"section {symbol.section + 1}"
            written.append((r.offset, r.type, name, r.addend))
        assert read == written
    bindings = [symbol["st_info"]["bind"] for symbol in table.iter_symbols()]
    assert bindings == sorted(bindings, key=lambda bind: bind != "STB_LOCAL")
    assert bindings.count("STB_LOCAL") == table["sh_info"]


def relink(linker: list[str], folder: Path, *paths: str) -> Image:
    (folder / "t.ld").write_text(SCRIPT)
    subprocess.run([*linker, "-T", "t.ld", "-o", "relinked.elf", *paths], cwd=folder, check=True)
    return read_image((folder / "relinked.elf").read_bytes(), "relinked")


def loaded(image: Image) -> dict[str, tuple[object, ...]]:
    return {
        s.name: (s.va, s.pa, s.size, s.align, s.type, s.data)
        for s in image.sections
        if s.flags & SectionFlag.ALLOC and s.size
    }


def values(image: Image) -> set[tuple[object, ...]]:
    return {
        (s.name, s.value, s.size, s.type)
        for s in image.symbols
        if s.section != -1 and not s.name.startswith("$") and s.type is not SymbolType.FILE
    }


@pytest.mark.parametrize("linker", LINKERS, ids=["ld", "lld"])
def test_a_written_object_links_like_the_original(
    folder: Path, objects: list[Object], linker: list[str]
) -> None:
    original = relink(linker, folder, "one.o", "two.o")
    for item in objects:
        (folder / f"again_{item.name}").write_bytes(write_rel(item))
    again = relink(linker, folder, "again_one.o", "again_two.o")
    assert loaded(again) == loaded(original)
    assert values(again) == values(original)


@pytest.mark.parametrize("linker", LINKERS, ids=["ld", "lld"])
def test_joined_objects_link_to_our_own_image(
    folder: Path, objects: list[Object], image: Image, linker: list[str]
) -> None:
    (folder / "joined.o").write_bytes(write_rel(merge_objects(objects, "joined.o")))
    other = relink(linker, folder, "joined.o")
    assert loaded(other) == loaded(image)
    assert values(other) == values(image)


def test_joining_first_changes_nothing(objects: list[Object], image: Image) -> None:
    joined = link([merge_objects(objects, "j")], Unit.from_text("t.ld", SCRIPT), name="t")
    assert loaded(joined) == loaded(image)
    assert values(joined) == values(image)


def test_ld_r_joins_the_same(folder: Path, objects: list[Object]) -> None:
    # ld's own script for -r fills .text with no-ops.
    (folder / "r.ld").write_text("SECTIONS { .text : { *(.text) } .data : { *(.data) } }")
    command = ["aarch64-linux-gnu-ld", "-r", "-T", "r.ld", "-o", "r.o", "one.o", "two.o"]
    subprocess.run(command, cwd=folder, check=True)
    theirs = read_object((folder / "r.o").read_bytes(), "r.o")
    ours = merge_objects(objects, "r.o")
    for section in theirs.sections:
        mine = ours.section(section.name)
        assert (mine.size, mine.align, mine.data) == (section.size, section.align, section.data)
        assert [(r.offset, r.type) for r in mine.relocations] == [
            (r.offset, r.type) for r in section.relocations
        ]
    for symbol in theirs.symbols:
        if symbol.name and symbol.type is not SymbolType.FILE:
            mine_symbol = ours.symbol(symbol.name)
            if not symbol.name.startswith("$"):
                assert (mine_symbol.value, mine_symbol.hidden) == (symbol.value, symbol.hidden)
