"""What the campaigns have found, each of its kind: it was a traceback, and is an answer."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest

from relokit.building import encoder
from relokit.codegen.base.errors import AssemblyError, FormatError, MachineError, TemplateError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.render import render
from relokit.codegen.source import Unit
from relokit.diffing.kernels.whole import compare_kernels
from relokit.linker.elf.elf_writer import write_exec
from relokit.linker.elf_format import EHDR, SHDR
from relokit.linker.foreign.doors import open_code
from relokit.linker.foreign.packed import UnpackedFiles
from relokit.linker.link.linking import link
from relokit.runtime.capture.gdb import _number
from relokit.runtime.capture.qemu import attached
from relokit.runtime.capture.qemu import memory_of as memory_of_qemu
from relokit.runtime.kexec.trans_pgd import copy_rule
from support.archives import archive

MANY = "9" * 5000
"""Digits: more than Python makes a number of."""
STATEMENTS = (
    "{}: nop", "b {}b", ".loc 1 {}", ".loc {} 1", '.file {} "x"', "# {} \"x\"", ".rept {}\n.endr",
    ".skip {}", ".byte {}", "mov x0, #{}", "mov x{}, x0", "ldr x0, ={}", ".align {}", ".inst {}",
    ".subsection {}", "fmov d0, #{}", '.section .a, "aM", %progbits, {}', "ldr x0, [x1, #{}]",
)  # fmt: skip


@pytest.mark.parametrize("statement", STATEMENTS)
def test_assembly_with_numbers_of_many_digits(statement: str) -> None:
    text = statement.format(MANY) + "\n"
    with suppress(AssemblyError):
        assemble(Unit.from_text("case.S", text), encoder().encode)


@pytest.mark.parametrize("text", ["{{ x" + " | int" * 300 + " }}", "{{ x" + "[0]" * 300 + " }}"])
def test_a_template_that_python_does_not_compile(tmp_path: Path, text: str) -> None:
    (tmp_path / "note.S.j2").write_text(text)
    with pytest.raises(TemplateError):
        render("note.S.j2", {"x": 1}, overrides=tmp_path)


def test_nothing_within_an_archive_or_a_unified_image(tmp_path: Path) -> None:
    path = tmp_path / "empty.a"
    path.write_bytes(archive({"a.o": b""}))
    with pytest.raises(FormatError, match="empty"):
        open_code(Path(f"{path}(a.o)"), UnpackedFiles(), encoder)
    pe = (
        b"MZ"
        + bytes(58)
        + struct.pack("<I", 64)
        + struct.pack("<4sHH12xHH", b"PE\0\0", 0xAA64, 1, 0, 0)
    )
    path.write_bytes(pe + struct.pack("<8sIIII16x", b".linux", 0, 0, 0, 0))
    with pytest.raises(FormatError, match="empty"):
        open_code(path, UnpackedFiles(), encoder)


def test_a_stub_that_numbers_its_registers_with_many_digits() -> None:
    assert [_number(one, 7) for one in (MANY, "12", "x", None)] == [7, 12, 7, 7]


def test_a_port_and_a_size_of_many_digits() -> None:
    with pytest.raises(MachineError, match="no HOST:PORT"):
        attached(f"localhost:{MANY}")
    with pytest.raises(MachineError, match="is no memory"):
        memory_of_qemu(["-m", f"{MANY}M"])


def test_a_kernel_whose_version_has_many_digits() -> None:
    assert copy_rule(f"6.{MANY}") == copy_rule("unknown")


@pytest.mark.parametrize("value", [3 << 62, (1 << 64) - 1])
def test_a_program_with_a_name_that_is_far_away(tmp_path: Path, value: int) -> None:
    """The distance to it was no number of 64 bits with a sign: a traceback."""
    text = "\t.type {0}, %function\n{0}:\tret\n\t.size {0}, 4\n"
    unit = assemble(
        Unit.from_text("a.S", text.format("one") + text.format("two")), encoder().encode
    )
    script = Unit.from_text("a.lds", "SECTIONS { . = 0x80000; .text : { *(.text) } }")
    data = bytearray(write_exec(link((unit,), script, name="a")))
    head = EHDR.unpack_from(data)
    rows = [SHDR.unpack_from(data, head[6] + SHDR.size * at) for at in range(head[12])]
    (table,) = (row for row in rows if row[1] == 2)
    symbols = range(table[4], table[4] + table[5], 24)
    functions = [at for at in symbols if data[at + 4] & 15 == 2]  # STT_FUNC
    struct.pack_into("<Q", data, functions[-1] + 8, value)
    path = tmp_path / "far"
    path.write_bytes(data)
    assert compare_kernels(path, path).same


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", f"{'x' * 5000}(member)"])
def test_names_that_no_file_has(name: str) -> None:
    with pytest.raises(FormatError):
        open_code(Path(name), UnpackedFiles(), encoder)
