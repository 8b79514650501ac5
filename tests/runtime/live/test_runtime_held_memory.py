"""What an old kernel's tree reserves, and what its UEFI has in RAM, of machines written here."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from relokit.runtime.board.devicetree import tree_of, virt_dtb
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.live.firmware_reading import FirmwareReader
from relokit.runtime.live.old_tree import reserved, tree_at
from support.firmware import (
    BASE,
    DSDT,
    FADT,
    KEPT,
    MAP,
    MAPPED,
    RSDP,
    SIZE,
    STEP,
    SYSTEM,
    TABLES,
    TREE,
    XSDT,
    machine,
    named,
)  # fmt: skip


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(BASE, SIZE) as one:
        yield one


def test_what_uefi_holds_is_read(memory: GuestMemory) -> None:
    reader = FirmwareReader(memory, machine(memory))
    assert (reader.present, reader.problem) == (True, None)
    assert [(one.name, one.base, one.size) for one in reader.held()] == [
        ("UEFI's memory (runtime data)", BASE + 0x20_0000, 0x2000),
        ("UEFI's memory (runtime)", TABLES, 0x1000),
        ("UEFI's memory (ACPI tables)", BASE + 0x30_0000, 0x1000),
        # Its links go round, and end.
        ("what LINUX_EFI_MEMRESERVE keeps", 0x8000_0000, 4096),
        ("what LINUX_EFI_MEMRESERVE keeps", 0x9000_0000, 8192),
    ]
    assert [(one.name, one.base, one.size) for one in reader.named()] == [
        ("UEFI's memory map", MAP, STEP * len(MAPPED)),
        ("UEFI's system table", SYSTEM, 120),
        ("UEFI's configuration tables", TABLES, 48),
        ("ACPI's RSDP", RSDP, 36),
        ("ACPI's XSDT", XSDT, 52),
        ("ACPI's FACP", FADT, 276),
        ("ACPI's DSDT", DSDT, 40),
    ]


def test_no_uefi_is_none(memory: GuestMemory) -> None:
    reader = FirmwareReader(memory, virt_dtb(BASE, SIZE))
    assert (reader.present, reader.problem, list(reader.held())) == (False, None, [])


@pytest.mark.parametrize(
    ("at", "data", "message"),
    [
        (SYSTEM, b"IBI SYSX", "no system table of UEFI is at PA 0x40002000"),
        (SYSTEM + 104, b"\xff" * 8, "no system table"),
    ],
)
def test_a_uefi_that_cannot_be_read_is_told(
    memory: GuestMemory, at: int, data: bytes, message: str
) -> None:
    tree = machine(memory)
    memory.write(at, data)
    assert message in str(FirmwareReader(memory, tree).problem)


@pytest.mark.parametrize(("size", "step"), [(1 << 31, 48), (480, 0), (480, 39), (40, 48)])
def test_a_map_of_no_size_is_none(memory: GuestMemory, size: int, step: int) -> None:
    found = FirmwareReader(memory, machine(memory, named(size, step)))
    assert found.problem == "no memory map of UEFI is at PA 0x40001000"


@pytest.mark.parametrize("at", [MAP, SYSTEM, TABLES, KEPT, RSDP, XSDT, FADT, DSDT])
@pytest.mark.parametrize("byte", [0x00, 0x7F, 0xFF])
def test_whatever_is_there_ends(memory: GuestMemory, at: int, byte: int) -> None:
    tree = machine(memory)
    for offset in (0, 4, 8, 16, 24, 32, 104):
        memory.write(at + offset, bytes([byte]) * 8)
        reader = FirmwareReader(memory, tree)
        held = [*reader.held(), *reader.named()]
        assert len(held) < 3 * 1024
        assert all(one.size > 0 and one.base + one.size <= 1 << 53 for one in held)


def with_reservations(*extents: tuple[int, int]) -> bytes:
    import libfdt

    fdt = libfdt.Fdt(bytearray(named()))
    fdt.resize(fdt.totalsize() + 1024)
    for base, size in extents:
        libfdt.fdt_add_mem_rsv(fdt._fdt, base, size)
    chosen = fdt.path_offset("/chosen")
    fdt.setprop_u64(chosen, "linux,initrd-start", BASE + 0x38_0000)
    fdt.setprop_u64(chosen, "linux,initrd-end", BASE + 0x38_0000 + 100)
    memory = fdt.add_subnode(0, "reserved-memory")
    fdt.setprop_u32(memory, "#address-cells", 2)
    fdt.setprop_u32(memory, "#size-cells", 2)
    secure = fdt.add_subnode(memory, "secure@40280000")
    fdt.setprop(secure, "reg", struct.pack(">QQ", BASE + 0x28_0000, 0x1000))
    fdt.setprop(secure, "no-map", b"")
    fdt.pack()
    return bytes(fdt.as_bytearray())


def test_what_the_old_kernel_was_told_to_leave_alone(memory: GuestMemory) -> None:
    """Not its own initrd, nor the tree itself, which boot loaders reserve."""
    tree = with_reservations(
        (BASE + 0x38_0000, 100), (TREE, 0x1_0000), (BASE + 0x3F_0000, 0x1000), (TREE - 4096, 4096)
    )
    memory.write(TREE, tree)
    found = tree_at(memory, TREE)
    assert found == tree
    assert [(one.base, one.size) for one in reserved(found, TREE)] == [
        (TREE - 4096, 4096), (BASE + 0x28_0000, 0x1000), (BASE + 0x3F_0000, 0x1000),
    ]  # fmt: skip
    assert tree_of(found).root.child("reserved-memory") is not None


@pytest.mark.parametrize("change", [(0, b"\0"), (4, b"\x7f"), (8, b"\xff"), (60, b"\xff" * 64)])
def test_what_is_no_tree_is_none(memory: GuestMemory, change: tuple[int, bytes]) -> None:
    memory.write(TREE, named())
    memory.write(TREE + change[0], change[1])
    assert tree_at(memory, TREE) is None
    assert tree_at(memory, TREE + 4) is None
    assert tree_at(memory, BASE + SIZE - 8) is None
