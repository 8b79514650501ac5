"""An ELF vmcore to plain data: memory by physical address, and what its notes tell.

Sources: the gABI (ELF64, ET_CORE, notes); Documentation/admin-guide/kdump/vmcoreinfo.rst;
struct elf_prstatus of arm64 (include/uapi/linux/elfcore.h: pr_reg is X0 to X30, SP, PC, PSTATE).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import HostFile, open_file
from relokit.codegen.base.nouns import dataclass
from relokit.linker.elf_format import EHDR, ET_CORE, IDENT, PHDR, PT_LOAD, PT_NOTE
from relokit.runtime.snapshot.snapshot import GENERAL, PAGE, RamExtent

EM_AARCH64 = 183
MAX_FILE = 1 << 40
MAX_PA = 1 << 52
MAX_HEADERS, MAX_CPUS = 4096, 512
MAX_NOTES = 4 << 20
NT_PRSTATUS = 1
PR_REG = 112
"""Offset of the general registers in struct elf_prstatus."""
INFO = b"VMCOREINFO"
MAX_INFO = 1 << 16
_NOTE = struct.Struct("<III")
_GENERAL = struct.Struct(f"<{len(GENERAL)}Q")
_FOREIGN = {
    b"KDUMP   ": "is compressed by makedumpfile",
    b"makedumpfile\0": "is makedumpfile's flattened stream",
}


@dataclass(frozen=True)
class Vmcore:
    """``pieces`` of RAM, ascending and apart, in ``file``; ``cpus`` have the general registers.

    ``info`` is VMCOREINFO, empty where there is none.
    """

    file: HostFile
    pieces: tuple[RamExtent, ...]
    cpus: tuple[Mapping[str, int], ...]
    info: Mapping[str, str]

    @property
    def banks(self) -> tuple[tuple[int, int], ...]:
        """RAM as the pieces are of it: PA, bytes."""
        found: list[tuple[int, int]] = []
        for one in self.pieces:
            if found and sum(found[-1]) == one.base:
                found[-1] = found[-1][0], found[-1][1] + one.size
            else:
                found.append((one.base, one.size))
        return tuple(found)

    def word(self, pa: int) -> int | None:
        """The 64 bits at PA ``pa``; None where the dump has none."""
        for one in self.pieces:
            at = pa - one.base
            if 0 <= at <= one.size - 8:
                return int.from_bytes(self.file.content[one.offset + at :][:8], "little")
        return None


def read_vmcore(path: Path) -> Vmcore:
    """The vmcore at ``path``; raises FormatError, naming the part, for what is none."""
    file = open_file(path, what="an ELF vmcore", limit=MAX_FILE)
    head = bytes(file.content[: EHDR.size])
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise FormatError(
                what, where=file.where, hint="give /proc/vmcore as it is, or another ELF dump"
            )
    if len(head) < EHDR.size or head[:7] != IDENT[:7]:
        raise FormatError("is no 64-bit little-endian ELF file", where=file.where)
    fields = EHDR.unpack(head)
    kind, machine, offset, size, count = (fields[number] for number in (1, 2, 5, 9, 10))
    if kind != ET_CORE or machine != EM_AARCH64:
        raise FormatError("is an ELF file, but no core of an arm64 machine", where=file.where)
    if size != PHDR.size or not 0 < count <= MAX_HEADERS:
        raise FormatError(
            f"has {count:,} program headers of {size} bytes: up to {MAX_HEADERS:,} of "
            f"{PHDR.size} are read",
            where=file.where,
        )
    if offset + count * size > file.size:
        raise _cut(file, "its program headers")
    headers = list(PHDR.iter_unpack(file.content[offset : offset + count * size]))
    pieces = tuple(_pieces(file, headers))
    if not pieces:
        raise FormatError("has no memory by physical address", where=file.where)
    if sum(one.size for one in pieces) > file.size:
        # Otherwise a small file would be terabytes of RAM, to look through and to keep.
        raise FormatError("has the same bytes as memory at several PAs", where=file.where)
    cpus: list[Mapping[str, int]] = []
    info: dict[str, str] = {}
    for name, note, data in _notes(file, headers):
        if name == b"CORE" and note == NT_PRSTATUS:
            cpus.append(_general(file, data))
        elif name == INFO:
            info = _information(data)
    if not 0 < len(cpus) <= MAX_CPUS:
        raise FormatError(
            f"has the registers of {len(cpus)} CPUs (notes NT_PRSTATUS): 1 to {MAX_CPUS} are read",
            where=file.where,
        )
    return Vmcore(file, pieces, tuple(cpus), info or _information_in(file, pieces))


def _cut(file: HostFile, what: str) -> FormatError:
    return FormatError(
        f"{what} end behind its {file.size:,} bytes",
        where=file.where,
        hint="it may be cut off: take it again",
    )


def _pieces(file: HostFile, headers: list[tuple[int, ...]]) -> Iterator[RamExtent]:
    last = 0
    loads = sorted((one[4], one[5], one[6], one[2]) for one in headers if one[0] == PT_LOAD)
    for base, size, memory, offset in loads:
        if size != memory:
            raise FormatError(
                f"has {size:#x} of {memory:#x} bytes of memory at PA {base:#x}: pages were left "
                "out of it",
                where=file.where,
                hint="dump all of memory (makedumpfile: -d 0, or not at all)",
            )
        if base % PAGE or size % PAGE or base + size > MAX_PA:
            raise FormatError(
                f"has memory at PA {base:#x}, {size:#x} bytes: no whole pages within 52 bits",
                where=file.where,
            )
        if offset + size > file.size:
            raise _cut(file, f"{size:#x} bytes of memory at PA {base:#x}")
        # The kernel's own text has a header of its own beside that of all RAM.
        skipped = min(max(last - base, 0), size)
        if size > skipped:
            yield RamExtent(base + skipped, size - skipped, offset + skipped)
            last = base + size


def _notes(file: HostFile, headers: list[tuple[int, ...]]) -> Iterator[tuple[bytes, int, bytes]]:
    """Name, type and content of each note; headers may share what they lead to."""
    left = MAX_NOTES
    for one in headers:
        if one[0] != PT_NOTE:
            continue
        offset, size = one[2], one[5]
        left -= size
        if left < 0:
            raise FormatError(f"has more than {MAX_NOTES:,} bytes of notes", where=file.where)
        if offset + size > file.size:
            raise _cut(file, "its notes")
        data, at = bytes(file.content[offset : offset + size]), 0
        while at + _NOTE.size <= size:
            name, length, kind = _NOTE.unpack_from(data, at)
            start = at + _NOTE.size + (name + 3 & -4)
            at = start + (length + 3 & -4)
            if start + length > size:
                raise FormatError("has a note that ends behind all notes", where=file.where)
            first = start - (name + 3 & -4)
            yield data[first : first + name].rstrip(b"\0"), kind, data[start : start + length]


def _general(file: HostFile, data: bytes) -> Mapping[str, int]:
    if len(data) < PR_REG + _GENERAL.size:
        raise FormatError(
            f"has a note NT_PRSTATUS of {len(data)} bytes: no registers of arm64", where=file.where
        )
    return dict(zip(GENERAL, _GENERAL.unpack_from(data, PR_REG), strict=True))


def _information(data: bytes) -> dict[str, str]:
    lines = data[:MAX_INFO].split(b"\0", 1)[0].decode("ascii", "replace").splitlines()
    return {key: value for key, is_set, value in (one.partition("=") for one in lines) if is_set}


def _information_in(file: HostFile, pieces: tuple[RamExtent, ...]) -> dict[str, str]:
    """VMCOREINFO where the kernel keeps it, as a note at the start of a page of its RAM."""
    for one in pieces:
        pages = np.frombuffer(file.content, np.uint8, one.size, one.offset).reshape(-1, PAGE)
        name = np.frombuffer(INFO + b"\0", np.uint8)
        own = pages[:, _NOTE.size : _NOTE.size + len(name)]
        for row in np.flatnonzero((own == name).all(axis=1)).tolist():
            at = one.offset + row * PAGE
            length = _NOTE.unpack_from(file.content, at)[1]
            start = at + _NOTE.size + (len(name) + 3 & -4)
            found = _information(bytes(file.content[start : start + min(length, MAX_INFO)]))
            if found:
                return found
    return {}
