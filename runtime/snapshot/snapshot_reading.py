"""A snapshot's directory to a Snapshot: strict, and bounded before memory is spent."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import HostFile, memory_descriptor, open_file
from relokit.runtime.snapshot.snapshot import (
    DEVICES_FILE,
    FORMAT,
    GENERAL,
    LOAD_FILE,
    PACKED_FILE,
    PAGE,
    RAM_FILE,
    REGISTERS_FILE,
    SNAPSHOT_FILE,
    ZSTD,
    CpuSnapshot,
    Devices,
    Its,
    KernelNamed,
    LoadSeen,
    Power,
    RamExtent,
    Redistributor,
    Snapshot,
)

MAX_JSON = 4 << 20
MAX_DEPTH = 8
MAX_RAM_FILE = 1 << 40
MAX_PA = 1 << 52
MAX_BANKS, MAX_EXTENTS, MAX_CPUS, MAX_REGISTERS = 64, 1 << 16, 512, 4096
MAX_NAME = 255
BASERS = 8
COMMANDS = ("GITS_CBASER", "GITS_CWRITER", "GITS_CREADR")
"""Of an ITS; they may be left out."""
CUT_OFF = "it may be cut off: take the snapshot again"
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_REGISTER = re.compile(r"[A-Z][A-Z0-9_]{0,31}")


def read_snapshot(directory: Path) -> Snapshot:
    """The snapshot in ``directory``.

    Raises FormatError, naming the file and the part, for what is missing, foreign or cut off.
    """
    found = _file(directory, SNAPSHOT_FILE)
    if found.value.get("format") != FORMAT:
        found.refuse(f"is not of format {FORMAT}", "take it again with 'relokit record'")
    banks = tuple(_banks(found))
    extents = tuple(_extents(found, banks))
    ram = _ram(found, directory, extents)
    kimage, tree = (
        found.number(found.value, name) if name in found.value else None
        for name in ("kimage", "tree")
    )
    cpu, cpus = _cpus(_file(directory, REGISTERS_FILE))
    return Snapshot(
        banks=banks,
        extents=extents,
        ram=ram,
        kernel=_kernel(found),
        cpu=cpu,
        cpus=cpus,
        kimage=kimage,
        devices=_devices(directory),
        tree=tree,
        load=_load(directory),
    )


class Part:
    """A JSON file that is looked at; what is not as it must be is refused by name."""

    def __init__(self, path: Path, value: dict[str, Any]) -> None:
        self.path, self.value = path, value

    def refuse(self, message: str, hint: str = "docs/snapshot.md has the format") -> NoReturn:
        raise FormatError(message, where=str(self.path), hint=hint)

    def of(self, holder: dict[str, Any], name: str, kind: type) -> Any:
        """Field ``name`` of ``holder``, which has to be a ``kind``."""
        if name not in holder:
            self.refuse(f"has no {name!r}")
        value = holder[name]
        if type(value) is not kind:
            self.refuse(f"{name!r} is not {_KINDS[kind]}")
        return value

    def number(self, holder: dict[str, Any], name: str) -> int:
        """A 64-bit number."""
        return self.hex(self.of(holder, name, str), name)

    def hex(self, text: object, name: str) -> int:
        """The same, of its text."""
        if not isinstance(text, str) or not _HEX.fullmatch(text):
            self.refuse(f'{name!r} is no 64-bit number like "0x40"')
        return int(text, 16)

    def many(self, holder: dict[str, Any], name: str, most: int) -> list[Any]:
        """A list."""
        value: list[Any] = self.of(holder, name, list)
        if len(value) > most:
            self.refuse(f"{name!r} has {len(value):,} entries: {most:,} are read")
        return value

    def entry(self, value: object, name: str) -> dict[str, Any]:
        """An object."""
        if not isinstance(value, dict):
            self.refuse(f"an entry of {name!r} is no object")
        return value


_KINDS: dict[type, str] = {
    str: "a string", list: "a list", dict: "an object", bool: "true or false", int: "a number",
}  # fmt: skip


def _open(directory: Path, name: str, limit: int) -> HostFile:
    path = directory / name
    if not path.parent.is_dir():
        raise FormatError(
            "is no directory", where=str(directory), hint="'relokit record' makes a snapshot"
        )
    if path.is_symlink():
        raise FormatError("is a symbolic link: a snapshot has its own files", where=str(path))
    return open_file(path, what="a file of a snapshot", limit=limit)


def _file(directory: Path, name: str) -> Part:
    file = _open(directory, name, MAX_JSON)
    path = directory / name
    text = bytes(file.content) if file.size else b""
    # JSON recurses by its brackets.
    depth = deepest = 0
    for byte in re.findall(rb"[\[\]{}]", text):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise FormatError("is nested deeper than a snapshot is", where=str(path))
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise FormatError("is no JSON object", where=str(path), hint=CUT_OFF)
    return Part(path, value)


def _pages(part: Part, row: object, count: int, name: str) -> tuple[int, ...]:
    if not isinstance(row, list) or len(row) != count:
        part.refuse(f"an entry of {name!r} is no list of {count} numbers")
    values = tuple(part.hex(one, name) for one in row)
    base, size = values[:2]
    if base % PAGE or size % PAGE or not size or base + size > MAX_PA:
        part.refuse(f"{name!r} has {base:#x}, {size:#x} bytes: no whole pages within 52 bits")
    return values


def _banks(part: Part) -> Iterator[tuple[int, int]]:
    rows, last = part.many(part.value, "banks", MAX_BANKS), -1
    if not rows:
        part.refuse("has no bank of RAM")
    for row in rows:
        base, size = _pages(part, row, 2, "banks")
        if base <= last:
            part.refuse("its banks do not ascend, apart from each other")
        last = base + size
        yield base, size


def _extents(part: Part, banks: tuple[tuple[int, int], ...]) -> Iterator[RamExtent]:
    last = 0
    for row in part.many(part.value, "extents", MAX_EXTENTS):
        base, size, offset = _pages(part, row, 3, "extents")
        if base < last:
            part.refuse("its extents do not ascend")
        last = base + size
        if not any(low <= base and last <= low + length for low, length in banks):
            part.refuse(f"the extent at PA {base:#x} is in no bank of RAM")
        yield RamExtent(base, size, offset)


def _ram(part: Part, directory: Path, extents: tuple[RamExtent, ...]) -> HostFile:
    """The file of RAM, unpacked if it is packed; all ``extents`` are in it."""
    if "compression" in part.value:
        return _unpacked(part, directory, extents)
    ram = _open(directory, RAM_FILE, MAX_RAM_FILE)
    for one in extents:
        if one.offset + one.size > ram.size:
            part.refuse(
                f"the extent at PA {one.base:#x} ends at byte {one.offset + one.size:,} of a RAM "
                f"file of {ram.size:,}",
                CUT_OFF,
            )
    if sum(one.size for one in extents) > ram.size:
        part.refuse("its extents have the same bytes of the RAM file at several PAs")
    return ram


def _unpacked(part: Part, directory: Path, extents: tuple[RamExtent, ...]) -> HostFile:
    """It holds the extents one behind another, and nothing else: so its size is known before."""
    from relokit.linker.kernel.decompression import Unpacking

    if part.of(part.value, "compression", str) != ZSTD:
        part.refuse(f"'compression' is not {ZSTD!r}")
    size = 0
    for one in extents:
        if one.offset != size:
            part.refuse(f"the extent at PA {one.base:#x} is not right behind the one before it")
        size += one.size
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > most:
        part.refuse(
            f"its RAM is {size:,} bytes unpacked, and this host has {most:,}",
            f"unpack {PACKED_FILE} to {RAM_FILE}, and take 'compression' out",
        )
    packed = _open(directory, PACKED_FILE, MAX_RAM_FILE)
    spend(size, "unpacked RAM of snapshots", packed.where)
    file = HostFile(memory_descriptor("ram", packed.where), size, packed.where)
    done = 0
    for piece in Unpacking(ZSTD, packed.content, packed.where):
        done += len(piece)
        if done > size:
            break
        os.writev(file.descriptor, [piece])
    if done != size:
        more = "more than" if done > size else f"{done:,}, and not"
        raise FormatError(
            f"expands to {more} the {size:,} bytes of the extents", where=packed.where, hint=CUT_OFF
        )
    return file


def _kernel(part: Part) -> KernelNamed:
    named = part.of(part.value, "kernel", dict)
    name, digest = part.of(named, "name", str), part.of(named, "sha256", str)
    if not name or len(name) > MAX_NAME or os.sep in name or not name.isprintable():
        part.refuse("the kernel's name is no file's name")
    if not _DIGEST.fullmatch(digest):
        part.refuse("the kernel's 'sha256' is none")
    return KernelNamed(name, digest, part.of(named, "included", bool))


def part_of(path: Path) -> Part:
    """The JSON file at ``path``; raises FormatError for what is none."""
    return _file(path.parent, path.name)


def cpus_of(part: Part) -> tuple[CpuSnapshot, ...]:
    """All CPUs in ``part``, which need not be whole."""
    rows = part.many(part.value, "cpus", MAX_CPUS)
    return tuple(_cpu(part, part.entry(one, "cpus")) for one in rows)


def _cpus(part: Part) -> tuple[int, tuple[CpuSnapshot, ...]]:
    cpus = cpus_of(part)
    number = part.of(part.value, "cpu", int)
    if not 0 <= number < len(cpus):
        part.refuse(f"'cpu' is {number}, and there are {len(cpus)}")
    lacks = [name for name in GENERAL if name not in cpus[number].registers]
    if lacks:
        part.refuse(
            f"CPU {number} lacks {', '.join(lacks)}",
            "no hand-over can be followed without them",
        )
    return number, cpus


def _cpu(part: Part, entry: dict[str, Any]) -> CpuSnapshot:
    power = part.of(entry, "power", str)
    if power not in list(Power):
        part.refuse(f"'power' is none of {', '.join(Power)}")
    registers = part.of(entry, "registers", dict)
    if len(registers) > MAX_REGISTERS:
        part.refuse(f"a CPU has {len(registers):,} registers")
    for name in registers:
        if not _REGISTER.fullmatch(name):
            part.refuse("a register has a name that is none")
    return CpuSnapshot(Power(power), {name: part.hex(registers[name], name) for name in registers})


def _load(directory: Path) -> LoadSeen | None:
    if not os.path.lexists(directory / LOAD_FILE):
        return None
    part = _file(directory, LOAD_FILE)

    def pages(name: str) -> Iterator[tuple[int, int]]:
        last = -1
        for row in part.many(part.value, name, MAX_EXTENTS):
            base, size = _pages(part, row, 2, name)
            if base <= last:
                part.refuse(f"the pages of {name!r} do not ascend, apart from each other")
            last = base + size
            yield base, size

    return LoadSeen(tuple(pages("stored")), tuple(pages("changed")))


def _devices(directory: Path) -> Devices | None:
    if not os.path.lexists(directory / DEVICES_FILE):
        return None
    part = _file(directory, DEVICES_FILE)
    redistributors = []
    for one in part.many(part.value, "redistributors", MAX_CPUS):
        entry = part.entry(one, "redistributors")
        redistributors.append(
            Redistributor(
                part.number(entry, "GICR_CTLR"),
                part.number(entry, "GICR_PROPBASER"),
                part.number(entry, "GICR_PENDBASER"),
            )
        )
    its = []
    for one in part.many(part.value, "its", MAX_CPUS):
        entry = part.entry(one, "its")
        basers = part.many(entry, "GITS_BASER", BASERS)
        its.append(
            Its(
                part.number(entry, "GITS_CTLR"),
                tuple(part.hex(baser, "GITS_BASER") for baser in basers),
                *(part.number(entry, name) if name in entry else 0 for name in COMMANDS),
            )
        )
    return Devices(tuple(redistributors), tuple(its))
