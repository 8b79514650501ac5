"""A stopped machine to a snapshot's directory: whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.host_file import HostFile, check_unchanged
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.base.told_to_end import keep, remove_at_last, uninterrupted
from relokit.runtime.snapshot.snapshot import (
    DEVICES_FILE,
    FORMAT,
    KERNEL_FILE,
    LOAD_FILE,
    PACKED_FILE,
    RAM_FILE,
    REGISTERS_FILE,
    SNAPSHOT_FILE,
    ZSTD,
    CpuSnapshot,
    Devices,
    KernelNamed,
    LoadSeen,
    RamExtent,
)

if TYPE_CHECKING:
    from zstandard import ZstdCompressionWriter

FILES = (
    RAM_FILE,
    PACKED_FILE,
    KERNEL_FILE,
    SNAPSHOT_FILE,
    REGISTERS_FILE,
    DEVICES_FILE,
    LOAD_FILE,
)
CHUNK = 1 << 16
"""RAM is kept in pieces of this size; one that is all zeros is left out."""

LEVEL = 3
"""Of zstd: RAM is packed at some 500 MB a second."""


@dataclass(frozen=True)
class Stopped:
    """A machine that is stopped: ``banks`` of RAM (PA, bytes), of which the file ``ram`` has
    ``pieces``, ascending, of whole pages; the rest is zero.
    """

    banks: tuple[tuple[int, int], ...]
    pieces: tuple[RamExtent, ...]
    ram: HostFile
    cpu: int
    cpus: tuple[CpuSnapshot, ...]
    kimage: int | None
    devices: Devices | None
    tree: int | None = None
    load: LoadSeen | None = None


def write_snapshot(
    directory: Path,
    machine: Stopped,
    kernel: HostFile,
    named: KernelNamed,
    *,
    packed: bool = False,
) -> int:
    """Write ``machine`` to ``directory``, which is not there yet, its RAM ``packed`` or as it is.

    Returns the bytes of RAM that are kept. Raises RelokitError for a place that cannot be written;
    nothing is left there then.
    """
    check_place(directory)
    part: Path | None = None
    try:
        with uninterrupted():
            part = Path(tempfile.mkdtemp(prefix=f".{directory.name[:100]}.", dir=directory.parent))
            leftovers = *(part / name for name in FILES), part
            remove_at_last(*leftovers)
        with (part / (PACKED_FILE if packed else RAM_FILE)).open("wb") as file:
            extents = _packed(machine, file) if packed else tuple(_ram(machine, file))
        with (part / KERNEL_FILE).open("wb") as file:
            file.write(kernel.content)
        _json(part / SNAPSHOT_FILE, _snapshot(machine, extents, named, packed=packed))
        _json(part / REGISTERS_FILE, _registers(machine))
        if machine.devices is not None:
            _json(part / DEVICES_FILE, _devices(machine.devices))
        if machine.load is not None:
            _json(part / LOAD_FILE, _load(machine.load))
        check_unchanged()
        part.chmod(0o755)
        part.rename(directory)
        keep(*leftovers)
        part = None
    except OSError as error:
        room = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise RelokitError(
            f"cannot be written: {error.strerror or error}",
            where=str(directory),
            hint="a snapshot is as large as what is used of RAM, and the kernel"
            if room
            else "check that the folder it is in exists and can be written",
        ) from None
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
            keep(*leftovers)
    return sum(one.size for one in extents)


def check_place(directory: Path) -> None:
    """Refuse a place where a snapshot cannot be: RelokitError."""
    if directory.exists() or directory.is_symlink():
        raise RelokitError(
            "is there already", where=str(directory), hint="name a new directory, or remove this"
        )
    if not directory.parent.is_dir():
        raise RelokitError("its folder is not there", where=str(directory), hint="make it before")


def _ram(machine: Stopped, file: BinaryIO | ZstdCompressionWriter) -> Iterator[RamExtent]:
    """Write what is not zero, and say where."""
    start = end = offset = 0
    for base, piece in _used(machine):
        if base != end:
            if end > start:
                yield RamExtent(start, end - start, offset - (end - start))
            start = base
        file.write(piece)
        end, offset = base + len(piece), offset + len(piece)
    if end > start:
        yield RamExtent(start, end - start, offset - (end - start))


def _packed(machine: Stopped, file: BinaryIO) -> tuple[RamExtent, ...]:
    from zstandard import ZstdCompressor

    with ZstdCompressor(LEVEL).stream_writer(file, closefd=False) as packer:
        return tuple(_ram(machine, packer))


def _used(machine: Stopped) -> Iterator[tuple[int, memoryview]]:
    """PA and content of what is not zero."""
    content, zeros = machine.ram.content, bytes(CHUNK)
    for one in machine.pieces:
        done = 0
        for low, high in written_ranges(machine.ram, one.offset, one.offset + one.size):
            for at in range(
                max((low - one.offset) // CHUNK * CHUNK, done), high - one.offset, CHUNK
            ):
                done = at + CHUNK
                piece = content[one.offset + at : one.offset + min(done, one.size)]
                if piece != zeros[: len(piece)]:
                    yield one.base + at, piece


def written_ranges(ram: HostFile, at: int, end: int) -> Iterator[tuple[int, int]]:
    """What of the sparse file ``ram`` has been written to, from byte ``at`` up to ``end``."""
    while at < end:
        try:
            low = os.lseek(ram.descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if low >= end:
            return
        at = min(os.lseek(ram.descriptor, low, os.SEEK_HOLE), end)
        yield low, at


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", "ascii")


def _snapshot(
    machine: Stopped, extents: tuple[RamExtent, ...], named: KernelNamed, *, packed: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "format": FORMAT,
        "banks": [[hex(base), hex(size)] for base, size in machine.banks],
        "extents": [[hex(one.base), hex(one.size), hex(one.offset)] for one in extents],
        "kernel": {"name": named.name, "sha256": named.sha256, "included": named.included},
    }
    if packed:
        found["compression"] = ZSTD
    if machine.kimage is not None:
        found["kimage"] = hex(machine.kimage)
    if machine.tree is not None:
        found["tree"] = hex(machine.tree)
    return found


def _registers(machine: Stopped) -> dict[str, Any]:
    return {
        "cpu": machine.cpu,
        "cpus": [
            {
                "power": str(one.power),
                "registers": {name: hex(value) for name, value in one.registers.items()},
            }
            for one in machine.cpus
        ],
    }


def _load(load: LoadSeen) -> dict[str, Any]:
    return {
        name: [[hex(base), hex(size)] for base, size in getattr(load, name)]
        for name in ("stored", "changed")
    }


def _devices(devices: Devices) -> dict[str, Any]:
    return {
        "redistributors": [
            {
                "GICR_CTLR": hex(one.ctlr),
                "GICR_PROPBASER": hex(one.propbaser),
                "GICR_PENDBASER": hex(one.pendbaser),
            }
            for one in devices.redistributors
        ],
        "its": [
            {
                "GITS_CTLR": hex(one.ctlr),
                "GITS_BASER": [hex(baser) for baser in one.basers],
                "GITS_CBASER": hex(one.cbaser),
                "GITS_CWRITER": hex(one.cwriter),
                "GITS_CREADR": hex(one.creadr),
            }
            for one in devices.its
        ],
    }
