"""ELF vmcores: what makedumpfile and kernels write is read, and what is none is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.runtime.snapshot.snapshot import GENERAL, RamExtent
from relokit.runtime.snapshot.vmcore import read_vmcore
from support.cores import BASE, GOOD, INFO, PAGE, TWO, VALUES, core, note, status


def test_memory_registers_and_information_are_read(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(GOOD)
    found = read_vmcore(path)
    assert [dict(one) for one in found.cpus] == [
        dict(zip(GENERAL, VALUES, strict=True)),
        dict(zip(GENERAL, range(34), strict=True)),
    ]
    assert found.info["SYMBOL(_stext)"] == "ffff800008010000"
    assert found.info["NUMBER(TCR_EL1_T1SZ)"] == "0x19"
    assert [(one.base, one.size) for one in found.pieces] == [
        (BASE, 2 * PAGE),
        (BASE + 2 * PAGE, PAGE),
    ]
    assert found.banks == ((BASE, 3 * PAGE),)
    assert found.word(BASE + PAGE) == int.from_bytes(b"b" * 8, "little")
    assert found.word(BASE + 3 * PAGE) is None


def test_notes_are_bounded_however_many_headers_lead_to_them(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    notes = status() + note(b"X", 9, bytes(3 << 20))
    data = bytearray(core(notes, (TWO[0], *TWO)))
    headers = 64
    data[headers + 56 : headers + 112] = data[headers : headers + 56]
    path.write_bytes(data)
    with pytest.raises(FormatError, match="bytes of notes"):
        read_vmcore(path)


def test_the_same_bytes_are_not_memory_at_many_places(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    data = bytearray(core(status(), [(BASE + PAGE * number, b"a" * PAGE) for number in range(64)]))
    first = 64 + 56
    at = int.from_bytes(data[first + 8 : first + 16], "little")
    for number in range(64):
        header = first + 56 * number
        data[header + 8 : header + 16] = at.to_bytes(8, "little")
    del data[at + PAGE :]
    path.write_bytes(data)
    with pytest.raises(FormatError, match="same bytes as memory at several PAs"):
        read_vmcore(path)


def test_a_header_of_the_kernels_text_beside_that_of_all_ram_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    ram = b"".join(bytes([number]) * PAGE for number in range(4))
    path.write_bytes(core(status(), ((BASE + PAGE, ram[PAGE : 2 * PAGE]), (BASE, ram))))
    found = read_vmcore(path)
    assert found.pieces == (RamExtent(BASE, 4 * PAGE, found.pieces[0].offset),)
    whole = found.file.content[found.pieces[0].offset :][: 4 * PAGE]
    assert bytes(whole) == ram
    # One that reaches beyond: of it, what the other has not.
    path.write_bytes(core(status(), ((BASE, ram), (BASE + 3 * PAGE, ram[3 * PAGE :] + ram))))
    found = read_vmcore(path)
    assert [(one.base, one.size) for one in found.pieces] == [
        (BASE, 4 * PAGE),
        (BASE + 4 * PAGE, 4 * PAGE),
    ]
    assert bytes(found.file.content[found.pieces[1].offset :][:PAGE]) == ram[:PAGE]


def test_information_is_found_in_ram(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    own = note(b"VMCOREINFO", 0, INFO)
    page = own + bytes(PAGE - len(own))
    path.write_bytes(core(status(), ((BASE, bytes(PAGE) + page),)))
    assert read_vmcore(path).info["OSRELEASE"] == "6.1"
    path.write_bytes(core(status(), ((BASE, bytes(PAGE)),)))
    assert read_vmcore(path).info == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"KDUMP   " + bytes(99), "compressed by makedumpfile"),
        (b"makedumpfile\0" + bytes(99), "flattened"),
        (b"\x7fELF\1\1\1" + bytes(99), "no 64-bit little-endian ELF"),
        (core(status(), TWO, kind=2), "no core of an arm64 machine"),
        (core(status(), TWO, machine=62), "no core of an arm64 machine"),
        (core(b"", TWO), "registers of 0 CPUs"),
        (core(status() * 513, TWO), "registers of 513 CPUs"),
        (core(status(), ()), "no memory by physical address"),
        (core(status(), ((BASE + 1, bytes(PAGE)),)), "no whole pages"),
        (core(status(), ((1 << 52, bytes(PAGE)),)), "no whole pages within 52 bits"),
        (core(status(), TWO, more=PAGE), "pages were left out"),
        (core(note(b"CORE", 1, bytes(300)), TWO), "NT_PRSTATUS of 300 bytes"),
        (core(struct.pack("<III", 5, 1 << 30, 1) + bytes(20), TWO), "ends behind all notes"),
        (core(bytes(5 << 20), TWO), "bytes of notes"),
        (GOOD[:-1], "cut off"),
        (GOOD[:100], "its program headers end behind"),
        (GOOD[:300], "cut off"),
    ],
)
def test_what_is_no_vmcore_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as told:
        read_vmcore(path)
    assert str(path) in str(told.value)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_bytes_that_are_cut_or_turned_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "vmcore"
    bad = bytearray(GOOD[: data.draw(st.integers(1, len(GOOD)))])
    for _ in range(data.draw(st.integers(0, 4))):
        # The headers and notes: beyond is memory.
        at = data.draw(st.integers(0, min(len(bad), 1400) - 1))
        bad[at] = data.draw(st.sampled_from((0, 1, 127, 255)))
    path.write_bytes(bad)
    try:
        found = read_vmcore(path)
    except FormatError:
        return
    assert all(one.offset + one.size <= len(bad) for one in found.pieces)
