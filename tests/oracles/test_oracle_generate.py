"""``relokit generate``, built by its own Makefile, is what ``relokit export`` writes."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from relokit.codegen.target import Regime, Target
from relokit.facade import export, generate

pytestmark = pytest.mark.oracle

TARGETS = [
    Target(),
    Target(series=0, page_size=65536, regime=Regime.EL1),
    Target(series=9, page_size=16384, va_bits=47, regime=Regime.VHE),
]


def contents(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Address and bytes of every section that is loaded."""
    elf = ELFFile(io.BytesIO(data))
    return {
        section.name: (section["sh_addr"], section.data())
        for section in elf.iter_sections()
        if section["sh_flags"] & 2 and section["sh_size"]
    }


def segments(data: bytes) -> list[tuple[int, ...]]:
    """VA, PA, size in memory and flags of every PT_LOAD with something in it."""
    return [
        (s["p_vaddr"], s["p_paddr"], s["p_memsz"], s["p_flags"])
        for s in ELFFile(io.BytesIO(data)).iter_segments()
        if s["p_type"] == "PT_LOAD" and s["p_memsz"]
    ]


def symbols(data: bytes) -> set[tuple[str, int, int]]:
    """Name, value and size; without mapping symbols and file names, which ld adds."""
    table = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
    assert table is not None
    return {
        (symbol.name, symbol["st_value"], symbol["st_size"])
        for symbol in table.iter_symbols()
        if symbol.name and symbol.name[0] != "$" and symbol["st_info"]["type"] != "STT_FILE"
    }


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_gnu_builds_the_same_program(target: Target, tmp_path: Path) -> None:
    generate(tmp_path / "out", target)
    subprocess.run(
        ["make", "-s", "-C", tmp_path / "out", "CROSS_COMPILE=aarch64-linux-gnu-"],
        check=True,
        timeout=60,
    )
    theirs = (tmp_path / "out" / "relokit.elf").read_bytes()
    export(tmp_path / "ours.elf", target)
    ours = (tmp_path / "ours.elf").read_bytes()
    assert contents(ours) == contents(theirs)
    assert symbols(ours) == symbols(theirs)
    assert segments(ours) == segments(theirs)
    entry = ELFFile(io.BytesIO(ours))["e_entry"]
    assert entry == ELFFile(io.BytesIO(theirs))["e_entry"]


@pytest.mark.parametrize("linker", ["aarch64-linux-gnu-ld", "ld.lld"])
def test_our_relocatable_file_links_to_the_same_program(linker: str, tmp_path: Path) -> None:
    generate(tmp_path / "out")
    export(tmp_path / "ours.o", kind="rel")
    export(tmp_path / "ours.elf")
    linked = tmp_path / "linked.elf"
    script = tmp_path / "out" / "kernel.lds"
    emulation = ["-m", "aarch64linux"]
    subprocess.run(
        [linker, *emulation, "-T", script, "-o", linked, tmp_path / "ours.o"],
        check=True,
        timeout=60,
    )
    ours, theirs = (tmp_path / "ours.elf").read_bytes(), linked.read_bytes()
    assert contents(ours) == contents(theirs)
    mine = {entry for entry in symbols(ours) if entry[1] > 1 << 32}
    assert mine <= symbols(theirs)
