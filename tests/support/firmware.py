"""UEFI in RAM: its map, system table, configuration tables and ACPI, written here byte by byte."""

from __future__ import annotations

import struct

from relokit.codegen.target import MIB
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.live.firmware_reading import ACPI_20, MEMRESERVE

BASE, SIZE = 0x4000_0000, 4 * MIB
TREE = BASE + 0x10_0000
MAP, SYSTEM, TABLES, KEPT, RSDP = (BASE + at for at in (0x1000, 0x2000, 0x3000, 0x4000, 0x6000))
XSDT, FADT, DSDT = BASE + 0x7000, BASE + 0x7100, BASE + 0x7400
TABLES_VA = 0xFFFF_0000_3000
STEP = 48
"""Firmware's descriptors may be longer than those that are known."""
PLACES = (MAP, SYSTEM, TABLES, KEPT, KEPT + 0x1000, RSDP, XSDT, FADT, DSDT)
"""Where it has something to say."""


def descriptor(kind: int, pa: int, pages: int, attributes: int = 0, va: int = 0) -> bytes:
    return struct.pack("<IxxxxQQQQ", kind, pa, va, pages, attributes).ljust(STEP, b"\xee")


def acpi(name: bytes, content: bytes = b"") -> bytes:
    return name + struct.pack("<I", 36 + len(content)) + bytes(28) + content


MAPPED = (
    descriptor(7, BASE, 1024),
    descriptor(6, BASE + 0x20_0000, 2),
    # The tables are given by their VA once firmware has been told of it.
    descriptor(4, TABLES, 1, 1 << 63, TABLES_VA),
    descriptor(9, BASE + 0x30_0000, 1),
    descriptor(7, BASE + 0x31_0000, 0),
)


def machine(memory: GuestMemory, tree: bytes | None = None) -> bytes:
    """UEFI in ``memory``, and the tree that names it."""
    memory.write(MAP, b"".join(MAPPED))
    memory.write(SYSTEM, struct.pack("<8s16x80xQQ", b"IBI SYST", 2, TABLES_VA))
    memory.write(TABLES, struct.pack("<16sQ16sQ", ACPI_20, RSDP, MEMRESERVE, KEPT))
    memory.write(KEPT, struct.pack("<IIQ4Q", 4, 2, KEPT + 0x1000, 0x8000_0000, 4096, 1 << 40, 0))
    memory.write(KEPT + 0x1000, struct.pack("<IIQ2Q", 4, 1, KEPT, 0x9000_0000, 8192))
    memory.write(RSDP, struct.pack("<8s7xB4xIQ", b"RSD PTR ", 2, 36, XSDT))
    memory.write(XSDT, acpi(b"XSDT", struct.pack("<2Q", FADT, 1 << 50)))
    fadt = acpi(b"FACP", bytes(240))
    memory.write(FADT, fadt[:140] + struct.pack("<Q", DSDT) + fadt[148:])
    memory.write(DSDT, acpi(b"DSDT", b"code"))
    return tree or named()


def named(size: int = STEP * len(MAPPED), step: int = STEP) -> bytes:
    import libfdt

    fdt = libfdt.Fdt(bytearray(virt_dtb(BASE, SIZE)))
    fdt.resize(fdt.totalsize() + 1024)
    chosen = fdt.path_offset("/chosen", [libfdt.NOTFOUND])
    if chosen < 0:
        chosen = fdt.add_subnode(0, "chosen")
    fdt.setprop_u64(chosen, "linux,uefi-system-table", SYSTEM)
    fdt.setprop_u64(chosen, "linux,uefi-mmap-start", MAP)
    fdt.setprop_u32(chosen, "linux,uefi-mmap-size", size)
    fdt.setprop_u32(chosen, "linux,uefi-mmap-desc-size", step)
    fdt.pack()
    return bytes(fdt.as_bytearray())
