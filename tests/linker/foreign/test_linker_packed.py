"""What is inside of another file is opened, or named with what opens it."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import random
import struct
import zlib
from pathlib import Path

import pytest
import zstandard

import relokit
from relokit.building import encoder
from relokit.codegen.base.errors import FormatError, RelokitError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.kernels.whole import compare_kernels
from relokit.linker.elf.elf_writer import write_exec, write_rel
from relokit.linker.foreign import packed
from relokit.linker.foreign.packed import opened
from relokit.linker.link.linking import link
from support.archives import archive, member

TEXT = """
        .globl go
        .type go, %function
go:     mov x0, #{0}
        ret
        .size go, . - go
"""
COMPRESSIONS = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "xz": lzma.compress,
}


def unit(number: int) -> bytes:
    return write_rel(assemble(Unit.from_text("t.S", TEXT.format(number)), encoder().encode))


def program(number: int) -> bytes:
    built = assemble(Unit.from_text("t.S", TEXT.format(number)), encoder().encode)
    script = Unit.from_text("t.ld", "SECTIONS { . = 0x400000; .text : { *(.text) } }")
    return write_exec(link([built], script, name="t"))


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_compressed_module_or_vmlinux_is_read(name: str, tmp_path: Path) -> None:
    pack = COMPRESSIONS[name]
    files = [tmp_path / f"{n}.ko.{name}" for n in (1, 2)]
    for number, file in enumerate(files):
        file.write_bytes(pack(unit(number)))
    assert relokit.diff(str(files[0]), str(files[0])).same
    assert relokit.diff(*map(str, files)).changed == 1
    for number, file in enumerate(files):
        file.write_bytes(pack(program(number)))
    assert relokit.diff(*map(str, files)).changed == 1
    assert compare_kernels(*files).changed == 1


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_what_is_cut_short_damaged_or_grows_without_end_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = COMPRESSIONS[name]
    large = pack(unit(1) + random.Random(0).randbytes(1 << 16))
    for cut in (len(large) - 1, len(large) - (1 << 14)):
        with pytest.raises(FormatError, match="damaged"):
            opened(memoryview(large[:cut]), "x")
    assert opened(memoryview(large[:12]), "x") is None
    monkeypatch.setattr(packed, "MAX_EXPANDED", 1 << 16)
    with pytest.raises(FormatError, match="expands to more than") as caught:
        opened(memoryview(pack(unit(1) + bytes(1 << 22))), "x")
    assert "strip -g" in (caught.value.hint or "")


def test_a_compressed_kernel_is_left_to_who_reads_kernels() -> None:
    for pack in COMPRESSIONS.values():
        assert opened(memoryview(pack(b"MZ" + bytes(1 << 12))), "x") is None
    assert opened(memoryview(b""), "x") is None
    assert opened(memoryview(zlib.compress(b"x")), "x") is None


def uki(section: bytes, kernel: bytes) -> bytes:
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HH12xHH", 0xAA64, 1, 0, 0)
    row = struct.pack("<8sIIII16x", section, len(kernel), 0, len(kernel), 64 + 24 + 40)
    return head + coff + row + kernel


def test_the_kernel_in_a_unified_kernel_image() -> None:
    found = opened(memoryview(uki(b".linux", b"a kernel")), "x")
    assert found is not None
    assert bytes(found.content) == b"a kernel"
    assert opened(memoryview(uki(b".text", b"a kernel")), "x") is None
    for cut in range(130):
        opened(memoryview(uki(b".linux", b"a kernel")[:cut]), "x") if cut > 127 else None
        assert cut > 127 or opened(memoryview(uki(b".linux", b"a kernel")[:cut]), "x") is None


@pytest.mark.parametrize(
    ("content", "words", "way_out"),
    [
        (
            b"!<arch>\n" + member("/", b"") + member("//", b"a_very_long_name.o/\n")
            + member("/0") + member("b.o/", b"odd"),
            "archive", "FILE(MEMBER)' (it has a_very_long_name.o, b.o)",
        ),
        (b"!<thin>\n" + member("c.o/", b""), "archive", "give the object itself (it has c.o)"),
        (b"!<arch>\n", "archive", "FILE(MEMBER)"),
        (b"!<arch>\n" + b"\xff" * 100, "archive", "FILE(MEMBER)"),
        (b"BC\xc0\xde" + bytes(100), "bitcode", "llc -filetype=obj"),
        (b"\xde\xc0\x17\x0b" + bytes(100), "bitcode", "-flto"),
    ],
)  # fmt: skip
def test_what_is_no_machine_code_yet_is_named_with_the_way_out(
    content: bytes, words: str, way_out: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.a"
    file.write_bytes(content)
    for ask in (relokit.diff, compare_kernels):
        with pytest.raises(RelokitError, match=words) as caught:
            ask(str(file), str(file))
        assert way_out in (caught.value.hint or "")


def test_a_member_of_an_archive_is_compared(tmp_path: Path) -> None:
    for number in (1, 2):
        made = archive({"one.o": unit(1), "a_very_long_name.o": unit(number)})
        (tmp_path / f"{number}.a").write_bytes(made)
    left, right = (str(tmp_path / f"{number}.a") for number in (1, 2))
    assert relokit.diff(f"{left}(one.o)", f"{right}(one.o)").same
    assert relokit.diff(f"{left}(a_very_long_name.o):go", f"{right}(a_very_long_name.o)").changed
    assert compare_kernels(f"{left}(one.o)", f"{right}(a_very_long_name.o)").changed == 1
    with pytest.raises(FormatError, match=r"no member two.o") as caught:
        relokit.diff(f"{left}(two.o)", right)
    assert "it has one.o, a_very_long_name.o" in (caught.value.hint or "")


def test_a_host_without_memory_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Function not implemented", of nothing in particular."""

    def none(*_: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    (tmp_path / "object.gz").write_bytes(gzip.compress(b"nothing"))
    monkeypatch.setattr(os, "memfd_create", none)
    with pytest.raises(FormatError, match="gives no memory to unpack it into") as told:
        compare_kernels(tmp_path / "object.gz", tmp_path / "object.gz")
    assert "object.gz" in str(told.value)
