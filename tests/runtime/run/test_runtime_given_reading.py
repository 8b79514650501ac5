"""What the new kernel is given, read from RAM: every word of it may be anything."""

from __future__ import annotations

import struct
from typing import Any

import libfdt
import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from relokit.runtime.board.chosen import with_chosen
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.record.given import CpuNode, Given, TreeGiven
from relokit.runtime.run.given_reading import given
from support.device_trees import Board

BASE, SIZE = 0x4000_0000, 1 << 24
TREE = BASE + 0x20_0000


def read(*pieces: tuple[int, bytes], tree: int | None = TREE) -> Given:
    memory = GuestMemory(BASE, SIZE)
    try:
        for at, data in pieces:
            memory.write(at, data)
        return given(memory, BASE, tree)
    finally:
        memory.close()


def tree_of(blob: bytes) -> TreeGiven:
    found = read((TREE, blob)).tree
    assert found is not None
    return found


def test_the_header_of_an_image() -> None:
    header = struct.pack("<IIQQQQQQ4sI", 0, 0, 0x8_0000, 0x123_0000, 0xA, 0, 0, 0, b"ARM\x64", 0)
    image = read((BASE, header)).image
    assert image is not None
    assert (image.at, image.text_offset, image.image_size, image.flags) == (
        BASE, 0x8_0000, 0x123_0000, 0xA,
    )  # fmt: skip
    assert read((BASE, header[:56] + b"NONE")).image is None


def test_no_tree_is_promised_to_a_purgatory() -> None:
    assert read(tree=None).tree is None


def test_the_tree_of_the_board() -> None:
    blob = with_chosen(virt_dtb(BASE, SIZE), initrd=(BASE + 0x1000, BASE + 0x3000))
    assert tree_of(blob) == TreeGiven(
        at=TREE,
        size=len(blob),
        memory=((BASE, SIZE),),
        reserved=((BASE + 0x1000, 0x2000),),
        initrd=(BASE + 0x1000, 0x2000),
        chosen=True,
        cpus=(CpuNode("cpu@0", "psci"),),
        psci=True,
    )


def spin_table(release: int) -> bytes:
    """A tree with a reservation, memory that may not be mapped, and a CPU that spins."""
    writer: Any = libfdt.FdtSw()
    writer.add_reservemap_entry(BASE + 0x8000, 0x1000)
    writer.finish_reservemap()
    with writer.add_node(""):
        with writer.add_node("memory@0"):
            writer.property("device_type", b"memory\0")
            writer.property("reg", struct.pack(">QI", BASE, SIZE))
        with writer.add_node("reserved-memory"):
            writer.property_u32("#address-cells", 2)
            writer.property_u32("#size-cells", 1)
            with writer.add_node("secure"):
                writer.property("reg", struct.pack(">QI", BASE + 0x1_0000, 0x2000))
                writer.property("no-map", b"")
        with writer.add_node("cpus"), writer.add_node("cpu@1"):
            writer.property("device_type", b"cpu\0")
            writer.property("enable-method", b"spin-table\0")
            writer.property("cpu-release-addr", struct.pack(">Q", release))
    fdt = writer.as_fdt()
    fdt.pack()
    return bytes(fdt.as_bytearray())


def test_a_cpu_that_spins_and_what_it_waits_for() -> None:
    blob, word = spin_table(BASE + 0x8008), struct.pack("<Q", 0x1234)
    tree = read((TREE, blob), (BASE + 0x8008, word)).tree
    assert tree is not None
    assert tree.problem is None
    assert tree.cpus == (CpuNode("cpu@1", "spin-table", BASE + 0x8008, 0x1234),)
    assert tree.reserved == ((BASE + 0x8000, 0x1000), (BASE + 0x1_0000, 0x2000))
    assert tree.unmapped == ((BASE + 0x1_0000, 0x2000),)
    assert (tree.chosen, tree.psci, tree.initrd) == (False, False, None)
    [cpu] = tree_of(spin_table(1 << 60)).cpus
    assert cpu.held is None


@pytest.mark.parametrize("at", [0, BASE + SIZE - 8, (1 << 64) - 8])
def test_a_tree_outside_ram_is_none(at: int) -> None:
    tree = read(tree=at).tree
    assert tree is not None
    assert tree.problem


@pytest.mark.parametrize("size", [0, 39, 40, 1 << 23, 0xFFFF_FFFF])
def test_a_size_that_is_wrong_is_a_problem(size: int) -> None:
    blob = bytearray(virt_dtb(BASE, SIZE))
    blob[4:8] = struct.pack(">I", size)
    assert tree_of(bytes(blob)).problem


@for_any(st.integers(0, 1500), st.binary(min_size=1, max_size=8))
def test_whatever_is_there_is_a_tree_or_a_problem(at: int, junk: bytes) -> None:
    blob = bytearray(virt_dtb(BASE, SIZE))
    blob[at : at + len(junk)] = junk
    tree = tree_of(bytes(blob))
    assert tree.problem is None or tree.memory == ()


def test_what_chosen_says_of_crash_memory_seeds_and_kho() -> None:
    """As a loader would hand it on that leaves everything in."""
    table = BASE + 0x8000
    board = Board(
        memory=((BASE, SIZE),),
        chosen={
            "linux,usable-memory-range": pair(BASE, 4096) + pair(BASE + 8192, 4096),
            "linux,elfcorehdr": pair(BASE + 4096, 4096),
            "kaslr-seed": bytes(8),
            "rng-seed": b"\0\1",
            "linux,kho-fdt": pair(BASE, 4096),
            "linux,kho-scratch": pair(table, 40),
        },
    )
    memory = GuestMemory(BASE, SIZE)
    memory.write(table, struct.pack("<5Q", BASE, 64, TREE, 128, 7))
    memory.write(TREE, board.blob())
    found = given(memory, BASE, TREE, (BASE, 4096))
    assert found.crash == (BASE, 4096)
    tree = found.tree
    assert tree is not None
    assert tree.problem is None
    assert tree.usable == ((BASE, 4096), (BASE + 8192, 4096))
    assert tree.core_header == (BASE + 4096, 4096)
    assert (tree.seeds, tree.spent_seeds) == (("kaslr-seed", "rng-seed"), ("kaslr-seed",))
    assert (tree.kho_tree, tree.kho_scratch) == ((BASE, 4096), (table, 40))
    assert tree.scratch == ((BASE, 64), (TREE, 128))


@pytest.mark.parametrize("table", [(0, 16), (BASE + SIZE - 8, 16), (BASE, 1 << 40)])
def test_a_table_of_scratch_areas_that_is_not_there(table: tuple[int, int]) -> None:
    board = Board(chosen={"linux,kho-scratch": pair(*table)})
    assert tree_of(board.blob()).scratch == ()


@pytest.mark.parametrize("parent", ["psci", "firmware"])
@pytest.mark.parametrize("compatible", [b"arm,psci-1.0\0arm,psci-0.2\0", b"arm,psci\0", b"other\0"])
def test_firmware_is_found_wherever_it_is(parent: str, compatible: bytes) -> None:
    fdt = libfdt.Fdt(bytearray(virt_dtb(BASE, SIZE)))
    fdt.del_node(fdt.path_offset("/psci"))
    fdt.resize(8192)
    node = fdt.add_subnode(0, parent)
    if parent != "psci":
        node = fdt.add_subnode(node, "anything")
    fdt.setprop(node, "compatible", compatible)
    fdt.pack()
    assert tree_of(bytes(fdt.as_bytearray())).psci == (b"psci" in compatible)


def pair(base: int, size: int) -> bytes:
    return struct.pack(">QQ", base, size)
