"""GNU binutils and elfutils on the lines of what is exported: no complaint, and our own answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import relokit
from relokit.codegen.object import SymbolType
from relokit.codegen.target import Target
from relokit.facade import export
from relokit.linker.elf.elf_writer import write_exec
from relokit.linker.image import Image
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.state.code_copies import code_in_ram
from relokit.runtime.state.symbol_file import symbol_image
from support.machines import prepared

pytestmark = pytest.mark.oracle

ADDR2LINE, READELF = "aarch64-linux-gnu-addr2line", "aarch64-linux-gnu-readelf"


def told(path: Path, addresses: list[int]) -> list[tuple[str, str]]:
    """Routine and line of each address, by addr2line."""
    words = "".join(f"{address:#x}\n" for address in addresses)
    done = subprocess.run(
        [ADDR2LINE, "-fe", path], input=words, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    return list(zip(lines[::2], lines[1::2], strict=True))


def ours(image: Image, addresses: list[int]) -> list[tuple[str, str]]:
    """The same, by the Image."""
    found = []
    for va in addresses:
        symbol = image.symbol_at(va)
        assert symbol is not None
        found.append((symbol[0], str(image.line_at(va))))
    return found


def complaints(path: Path) -> str:
    """What readelf has to say against the file."""
    done = subprocess.run(
        [READELF, "-aW", "--debug-dump", path], capture_output=True, text=True, check=True
    )
    return done.stderr + "".join(line for line in done.stdout.splitlines() if "arning" in line)


@pytest.mark.parametrize("target", [Target(), Target(series=0, regime="el1", page_size=65536)])
def test_every_instruction_of_an_executable_has_its_line(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "routines.elf"
    export(path, target)
    assert complaints(path) == ""
    image = relokit.build(target).image
    routines = [one for one in image.symbols if one.type is SymbolType.FUNC]
    addresses = [va for one in routines for va in range(one.value, one.value + one.size, 4)]
    assert len(addresses) > 300
    lines = [line for _, line in told(path, addresses)]
    assert lines == [str(image.line_at(va)) for va in addresses]
    names = [name for name, _ in told(path, [one.value for one in routines])]
    assert names == [one.name for one in routines]


@pytest.mark.parametrize("path", [KexecPath.NORMAL, KexecPath.PURGATORY])
def test_a_machine_has_names_and_lines_where_its_code_runs(path: KexecPath, tmp_path: Path) -> None:
    job = Job(path=path)
    symbols, bootable = tmp_path / "symbols.elf", tmp_path / "bootable.elf"
    with prepared(Target(), job) as machine:
        symbols.write_bytes(write_exec(symbol_image(machine)))
        copies = {copy.name: copy for copy in code_in_ram(machine)}
        jump = machine.jump
    export(bootable, job=job, kind="bootable")
    assert complaints(symbols) == complaints(bootable) == ""
    assert set(copies) == {"old_kernel", "copied_code", "el2_vectors"}
    assert copies["copied_code"].at == jump
    for copy in copies.values():
        addresses = [copy.at + offset for offset in (0, 4, 0x68)]
        expected = ours(copy.image, [copy.va + offset for offset in (0, 4, 0x68)])
        assert told(symbols, addresses) == told(bootable, addresses) == expected
    again = tmp_path / "again.elf"
    export(again, job=job, kind="bootable")
    assert again.read_bytes() == bootable.read_bytes()
