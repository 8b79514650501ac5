"""What UEFI has in RAM, and goes on using: by its memory map, and by the tables that it names.

Sources: UEFI 2.10, 4.3 (EFI_SYSTEM_TABLE), 4.6 (EFI_CONFIGURATION_TABLE), 7.2 (GetMemoryMap);
ACPI 6.5, 5.2.5 (RSDP), 5.2.6 (headers), 5.2.8 (XSDT), 5.2.9 (FADT);
Documentation/arch/arm/uefi.rst (/chosen), include/linux/efi.h (LINUX_EFI_MEMRESERVE_TABLE).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from uuid import UUID

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.board.devicetree import tree_of
from relokit.runtime.guest.around import HeldMemory
from relokit.runtime.guest.memory import GuestMemory

SYSTEM_TABLE, MAP_START, MAP_SIZE, DESCRIPTOR_SIZE = (
    f"linux,uefi-{name}" for name in ("system-table", "mmap-start", "mmap-size", "mmap-desc-size")
)
PAGE = 4096
MAX_MAP, MAX_DESCRIPTOR, MAX_TABLES, MAX_LINKS = 1 << 20, 1 << 12, 1024, 4096
MAX_ACPI = 16 << 20
RUNTIME = 1 << 63
"""EFI_MEMORY_RUNTIME: firmware uses it while an operating system runs."""
HELD = {
    0: "reserved", 5: "runtime code", 6: "runtime data", 8: "unusable", 9: "ACPI tables",
    10: "ACPI NVS", 11: "MMIO", 12: "MMIO ports", 13: "PAL code",
}  # fmt: skip
"""Types of memory that are no RAM of an operating system's."""
_DESCRIPTOR = struct.Struct("<I4xQQQQ")
_SYSTEM = struct.Struct("<Q16x80xQQ")
_SIGNATURE = int.from_bytes(b"IBI SYST", "little")
_ENTRY = struct.Struct("<16sQ")
ACPI_20 = UUID("8868e871-e4f1-11d3-bc22-0080c73c8881").bytes_le
MEMRESERVE = UUID("888eb0c6-8ede-4ff5-a8f0-9aee5cb977c2").bytes_le
_RSDP = struct.Struct("<8s7xB4xIQ")
_RESERVE = struct.Struct("<IIQ")
_HEADER = 36
_LENGTH = 4
# Fields of the FADT: FACS and DSDT, by 64 bits, else by 32.
_FADT = ((132, 36), (140, 40))


@dataclass(frozen=True, slots=True)
class _Descriptor:
    kind: int
    pa: int
    va: int
    size: int
    attributes: int


class FirmwareReader:
    """``tree``'s UEFI in ``memory``."""

    def __init__(self, memory: GuestMemory, tree: bytes) -> None:
        self._memory = memory
        chosen = tree_of(tree).root.child("chosen")
        found = {} if chosen is None else chosen.properties
        self._facts = {
            name: int.from_bytes(found.get(name, b""), "big")
            for name in (SYSTEM_TABLE, MAP_START, MAP_SIZE, DESCRIPTOR_SIZE)
        }
        self._map = list(self._descriptors())

    @property
    def present(self) -> bool:
        """Whether the tree names a UEFI at all."""
        return bool(self._facts[SYSTEM_TABLE])

    @property
    def problem(self) -> str | None:
        """Why it cannot be read, if it cannot."""
        if not self.present:
            return None
        if not self._map:
            return f"no memory map of UEFI is at PA {self._facts[MAP_START]:#x}"
        if self._system() is None:
            return f"no system table of UEFI is at PA {self._facts[SYSTEM_TABLE]:#x}"
        return None

    def held(self) -> Iterator[HeldMemory]:
        """Memory that is not the operating system's, whoever is told of it."""
        for one in self._map:
            kind = HELD.get(one.kind)
            if kind is not None or one.attributes & RUNTIME:
                yield HeldMemory(f"UEFI's memory ({kind or 'runtime'})", one.pa, one.size)
        for guid, at in self._tables():
            if guid == MEMRESERVE:
                yield from self._reservations(at)

    def named(self) -> Iterator[HeldMemory]:
        """The tables, which a kernel that is told of UEFI looks for."""
        yield HeldMemory("UEFI's memory map", self._facts[MAP_START], self._facts[MAP_SIZE])
        system = self._system()
        if system is None:
            return
        yield HeldMemory("UEFI's system table", self._facts[SYSTEM_TABLE], _SYSTEM.size)
        count, at = system
        yield HeldMemory("UEFI's configuration tables", at, count * _ENTRY.size)
        for guid, table in self._tables():
            if guid == ACPI_20:
                yield from self._acpi(table)

    def _descriptors(self) -> Iterator[_Descriptor]:
        start, size, step = (self._facts[name] for name in (MAP_START, MAP_SIZE, DESCRIPTOR_SIZE))
        if not _DESCRIPTOR.size <= step <= MAX_DESCRIPTOR or not step <= size <= MAX_MAP:
            return
        data = self._read(start, size)
        for at in range(0, len(data) - step + 1, step):
            kind, pa, va, pages, attributes = _DESCRIPTOR.unpack_from(data, at)
            if 0 < pages <= 1 << 40 and pa < 1 << 52:
                yield _Descriptor(kind, pa, va, pages * PAGE, attributes)

    def _system(self) -> tuple[int, int] | None:
        """How many configuration tables there are, and the PA of their array."""
        data = self._read(self._facts[SYSTEM_TABLE], _SYSTEM.size)
        if not data:
            return None
        signature, count, at = _SYSTEM.unpack(data)
        if signature != _SIGNATURE or not 0 < count <= MAX_TABLES:
            return None
        return count, self._physical(at)

    def _physical(self, address: int) -> int:
        """Once firmware has been given virtual addresses, its pointers are those."""
        for one in self._map:
            if one.attributes & RUNTIME and one.va and one.va <= address < one.va + one.size:
                return address - one.va + one.pa
        return address

    def _tables(self) -> Iterator[tuple[bytes, int]]:
        system = self._system()
        if system is not None:
            count, at = system
            yield from _ENTRY.iter_unpack(self._read(at, count * _ENTRY.size))

    def _reservations(self, at: int) -> Iterator[HeldMemory]:
        """Linux keeps in it what has to outlive a kexec: tables of the interrupt controller."""
        seen: set[int] = set()
        while at and at not in seen and len(seen) < MAX_LINKS:
            seen.add(at)
            head = self._read(at, _RESERVE.size)
            if not head:
                return
            _, count, following = _RESERVE.unpack(head)
            rows = self._read(at + _RESERVE.size, min(count, MAX_TABLES) * 16)
            for base, size in struct.iter_unpack("<QQ", rows):
                if size and base + size <= 1 << 52:
                    yield HeldMemory("what LINUX_EFI_MEMRESERVE keeps", base, size)
            at = following

    def _acpi(self, at: int) -> Iterator[HeldMemory]:
        rsdp = self._read(at, _RSDP.size)
        if not rsdp:
            return
        signature, _, length, xsdt = _RSDP.unpack(rsdp)
        if signature != b"RSD PTR ":
            return
        yield HeldMemory("ACPI's RSDP", at, min(max(length, _RSDP.size), PAGE))
        table = self._table(xsdt)
        if table is None:
            return
        yield HeldMemory("ACPI's XSDT", xsdt, len(table))
        rows = table[_HEADER : _HEADER + (len(table) - _HEADER) // 8 * 8][: 8 * MAX_TABLES]
        for (entry,) in struct.iter_unpack("<Q", rows):
            yield from self._named_table(entry)

    def _named_table(self, at: int) -> Iterator[HeldMemory]:
        table = self._table(at)
        if table is None:
            return
        yield HeldMemory(f"ACPI's {_name(table)}", at, len(table))
        if table[:4] == b"FACP":
            for wide, narrow in _FADT:
                other = int.from_bytes(table[wide : wide + 8], "little")
                other = other or int.from_bytes(table[narrow : narrow + 4], "little")
                found = self._table(other)
                if found is not None:
                    yield HeldMemory(f"ACPI's {_name(found)}", other, len(found))

    def _table(self, at: int) -> bytes | None:
        head = self._read(at, _LENGTH + 4)
        length = int.from_bytes(head[_LENGTH:], "little")
        if not head or not _HEADER <= length <= MAX_ACPI:
            return None
        return self._read(at, length) or None

    def _read(self, at: int, size: int) -> bytes:
        """Empty if it is not in RAM."""
        return self._memory.read(at, size) if size and self._memory.contains(at, size) else b""


def _name(table: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 else "?" for byte in table[:4])
