"""Objects with more sections than a header counts, and what is no reason to refuse one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import relokit
from relokit.building import encoder
from relokit.codegen.base.errors import FormatError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.kernels.whole import compare_kernels
from relokit.linker.elf.elf_reader import read_object
from relokit.linker.elf.elf_writer import write_rel
from relokit.linker.elf_format import EHDR, IDENT, SHDR, SYM
from support.bounds import cpu_time_below

TEXT, EMPTY = 1, 0


def many(count: int, word: int = 0xD65F03C0, *, kind: int = 1, flags: int = 6) -> bytes:
    """A unit of ``count`` further sections, of which the last has the function ``go``."""
    total = count + 6
    strings = b"\0go\0other\0"
    names = b"\0.text\0.x\0"
    code = struct.pack("<I", word)
    last = 5 + count
    symbols = SYM.pack(0, 0, 0, 0, 0, 0)
    symbols += SYM.pack(1, 0x12, 0, min(last, 0xFFFF) if last < 0xFF00 else 0xFFFF, 0, 4)
    symbols += SYM.pack(4, 0x10, 0, 0xFFF1, 7, 0)
    numbers = struct.pack("<3I", 0, last, 0)
    body, places = b"", []
    for part in (strings, names, code, symbols, numbers):
        places.append((EHDR.size + len(body), len(part)))
        body += part
    rows = [
        SHDR.pack(0, 0, 0, 0, 0, total, 2, 0, 0, 0),
        SHDR.pack(0, 3, 0, 0, *places[0], 0, 0, 1, 0),
        SHDR.pack(0, 3, 0, 0, *places[1], 0, 0, 1, 0),
        SHDR.pack(0, 2, 0, 0, *places[3], 1, 1, 8, SYM.size),
        SHDR.pack(0, 18, 0, 0, *places[4], 3, 0, 4, 4),
        *[SHDR.pack(7, kind, flags, 0, places[2][0], 0, 0, 0, 4, 0)] * count,
        SHDR.pack(1, 1, 6, 0, *places[2], 0, 0, 4, 0),
    ]
    few = total < 0xFF00
    header = EHDR.pack(
        IDENT, 1, 183, 1, 0, 0, EHDR.size + len(body), 0, EHDR.size, 0, 0, SHDR.size,
        total if few else 0, 2 if few else 0xFFFF,
    )  # fmt: skip
    return header + body + b"".join(rows)


@pytest.mark.parametrize("count", [10, 66000])
def test_a_function_is_found_in_as_many_sections_as_there_are(count: int, tmp_path: Path) -> None:
    left, right = tmp_path / "a.o", tmp_path / "b.o"
    left.write_bytes(many(count))
    right.write_bytes(many(count, 0xD69F03E0))
    changes = relokit.diff(str(left), str(right)).changes()
    assert {one.text for row in changes for one in (row.left, row.right) if one} == {"ret", "eret"}


@pytest.mark.parametrize("count", [10, 0xFF00])
def test_numbers_of_sections_that_are_reserved_elsewhere_are_read(count: int) -> None:
    unit = read_object(many(count), "a.o")
    go, other = unit.symbols
    assert (go.name, unit.sections[go.section].data) == ("go", bytes.fromhex("c0035fd6"))
    assert (other.name, other.section) == ("other", -2)


def test_many_sections_as_a_whole_cost_what_they_are(tmp_path: Path) -> None:
    """Each was looked for among all that have code: 9,000 took half a minute, 66,000 no end."""
    left, right = tmp_path / "a.o", tmp_path / "b.o"
    left.write_bytes(many(9000))
    right.write_bytes(many(9000, 0xD69F03E0))
    with cpu_time_below(10):
        assert compare_kernels(left, left).same
        assert compare_kernels(left, right).changed == 1


def test_more_than_are_read_says_how_many() -> None:
    data = bytearray(many(66000))
    (at,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<Q", data, at + 32, 1 << 40)
    with pytest.raises(FormatError, match=r"1099511627776 sections .* up to 131072"):
        read_object(bytes(data), "a.o")


@pytest.mark.parametrize(
    ("kind", "flags"), [(8, 0x403), (14, 3), (0x6FFF4C03, 2), (1, 0x802)],
    ids=["tbss", "init_array", "llvm", "compressed"],
)  # fmt: skip
def test_what_no_code_needs_is_no_reason_to_refuse_a_file(
    kind: int, flags: int, tmp_path: Path
) -> None:
    left, right = tmp_path / "a.o", tmp_path / "b.o"
    left.write_bytes(many(1, kind=kind, flags=flags))
    right.write_bytes(many(1, 0xD69F03E0, kind=kind, flags=flags))
    assert relokit.diff(str(left), str(left)).same
    assert not relokit.diff(str(left), str(right)).same
    with pytest.raises(FormatError, match="not supported"):
        read_object(left.read_bytes(), "a.o")


def test_a_symbol_of_what_is_passed_over_is_still_referred_to(tmp_path: Path) -> None:
    text = """
        .type go, %function
go:     adrp x0, {0}
        add x0, x0, :lo12:{0}
        ret
        .size go, . - go
        .section .late, "aw", %nobits
first:  .zero 8
second: .zero 8
"""
    paths = []
    for name in ("first", "second"):
        unit = assemble(Unit.from_text("t.S", text.format(name)), encoder().encode)
        data = bytearray(write_rel(unit))
        (at,), (count,) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<H", data, 60)
        for row in range(at, at + 64 * count, 64):
            kind, flags = struct.unpack_from("<IQ", data, row + 4)
            if kind == 8 and flags & 1 and struct.unpack_from("<Q", data, row + 32)[0] == 16:
                struct.pack_into("<Q", data, row + 8, flags | 0x400)
        paths.append(tmp_path / f"{name}.o")
        paths[-1].write_bytes(data)
    assert relokit.diff(str(paths[0]), str(paths[0])).same
    assert not relokit.diff(*map(str, paths)).same
