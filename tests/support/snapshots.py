"""Snapshots written here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from relokit.codegen.base.host_file import open_file
from relokit.runtime.snapshot.snapshot import (
    GENERAL,
    CpuSnapshot,
    Devices,
    Its,
    KernelNamed,
    LoadSeen,
    Power,
    RamExtent,
    Redistributor,
)
from relokit.runtime.snapshot.snapshot_writing import CHUNK, Stopped, write_snapshot

BASE, SIZE = 0x4000_0000, 64 * CHUNK
REGISTERS = dict.fromkeys(GENERAL, 0) | {"PC": 1 << 63, "SCTLR_EL1": 5}
DEVICES = Devices(
    (Redistributor(1, 0x4210_078F, 0),), (Its(1, (1 << 63, 0), 1 << 63 | 0x4100_0000, 0x40, 0x20),)
)
LOAD = LoadSeen(((BASE, 0x2000), (BASE + 0x5000, 0x1000)), ((BASE + 0x1000, 0x1000),))
FILES = ("snapshot.json", "registers.json", "devices.json", "load.json")
PIECES = {0: b"first", 3 * CHUNK: b"a", 4 * CHUNK - 1: b"z", 5 * CHUNK + 7: b"b", SIZE - 1: b"e"}


def write(
    directory: Path,
    devices: Devices | None = DEVICES,
    *,
    packed: bool = False,
    held: Mapping[int, bytes] = MappingProxyType(PIECES),
    size: int = SIZE,
) -> Path:
    """A snapshot whose RAM, of ``size`` bytes, has ``held``, by place; with a chunk of zeros that
    was written to, and holes.
    """
    ram = directory / "memory"
    with ram.open("wb") as file:
        file.truncate(size)
        for at, data in held.items():
            os.pwrite(file.fileno(), data, at)
        os.pwrite(file.fileno(), bytes(CHUNK), 9 * CHUNK)
    kernel = directory / "vmlinuz"
    kernel.write_bytes(b"kernel")
    cpus = (CpuSnapshot(Power.ON, REGISTERS), CpuSnapshot(Power.OFF, {"PC": 4}))
    pieces = (RamExtent(BASE, size, 0),)
    file = open_file(ram, what="", limit=size)
    machine = Stopped(((BASE, size),), pieces, file, 0, cpus, 0x1234, devices, 0x4800_0000, LOAD)
    place = directory / "snapshot"
    file = open_file(kernel, what="", limit=9)
    write_snapshot(place, machine, file, KernelNamed("vmlinuz", "0" * 64, True), packed=packed)
    return place
