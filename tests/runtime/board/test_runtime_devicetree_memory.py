"""The memory that a device tree has, and what of it is reserved."""

from __future__ import annotations

import struct

import pytest

from relokit.codegen.base.errors import FormatError
from relokit.runtime.board.devicetree import memory_of, reserved_of
from support.fdt_blobs import END, Tree, quads, small


def memory_tree(*, cells: tuple[int, int] | None = (2, 2), **nodes: dict[str, bytes]) -> bytes:
    tree = Tree()
    own = []
    if cells is not None:
        own = [
            tree.prop("#address-cells", struct.pack(">I", cells[0])),
            tree.prop("#size-cells", struct.pack(">I", cells[1])),
        ]
    below = [
        tree.node(name, *(tree.prop(key, value) for key, value in node.items()))
        for name, node in nodes.items()
    ]
    return tree.blob(tree.node("", *own, *below) + END)


def test_memory_is_collected_from_every_enabled_node() -> None:
    memory = {"device_type": b"memory\0"}
    blob = memory_tree(
        m1=memory | {"reg": quads(0x8000_0000, 0x1000, 0x4000_0000, 0x2000)},
        m2=memory | {"reg": quads(0x1_0000_0000, 0x3000), "status": b"okay\0"},
        off=memory | {"reg": quads(0, 0x4000), "status": b"disabled\0"},
        none=memory | {"reg": quads(0x5000, 0)},
        other={"reg": quads(0, 0x5000)},
    )
    assert memory_of(blob) == (
        (0x4000_0000, 0x2000),
        (0x8000_0000, 0x1000),
        (0x1_0000_0000, 0x3000),
    )


def test_nodes_that_adjoin_or_overlap_are_one_bank() -> None:
    blob = memory_tree(
        a={"device_type": b"memory\0", "reg": quads(0x8000, 0x1000, 0x4000, 0x2000)},
        b={"device_type": b"memory\0", "reg": quads(0x6000, 0x1000, 0x8800, 0x1000)},
    )
    assert memory_of(blob) == ((0x4000, 0x3000), (0x8000, 0x1800))


def test_cell_counts_are_the_parents() -> None:
    node = {"device_type": b"memory\0", "reg": struct.pack(">III", 1, 2, 3)}
    assert memory_of(memory_tree(cells=(2, 1), m=node)) == ((0x1_0000_0002, 3),)
    assert memory_of(memory_tree(cells=None, m=node)) == ((0x1_0000_0002, 3),)
    short = {"device_type": b"memory\0", "reg": struct.pack(">II", 1, 2)}
    assert memory_of(memory_tree(cells=(1, 1), m=short)) == ((1, 2),)


@pytest.mark.parametrize("reg", [b"1234", quads((1 << 64) - 1, 2), struct.pack(">III", 1, 2, 3)])
def test_memory_that_cannot_be(reg: bytes) -> None:
    with pytest.raises(FormatError):
        memory_of(memory_tree(m={"device_type": b"memory\0", "reg": reg}))
    with pytest.raises(FormatError):
        memory_of(memory_tree(cells=(9, 9), m={"device_type": b"memory\0", "reg": reg}))


@pytest.mark.parametrize("reg", [b"", quads(1, 0)])
def test_memory_that_firmware_fills_in(reg: bytes) -> None:
    assert memory_of(memory_tree(m={"device_type": b"memory\0", "reg": reg})) == ()


def test_reserved_is_both_kinds() -> None:
    tree = Tree()
    two = struct.pack(">I", 2)
    blob = tree.blob(
        tree.node(
            "",
            tree.node(
                "reserved-memory",
                tree.prop("#address-cells", two),
                tree.prop("#size-cells", two),
                tree.node("fixed@1000", tree.prop("reg", quads(0x1000, 0x2000))),
                tree.node("moving", tree.prop("size", quads(0x4000))),
                tree.node(
                    "off@9000",
                    tree.prop("reg", quads(0x9000, 0x1000)),
                    tree.prop("status", b"disabled\0"),
                ),
            ),
        )
        + END,
        reservations=((0x8000, 0x100), (0x500, 0)),
    )
    assert reserved_of(blob) == ((0x1000, 0x2000), (0x8000, 0x100))
    assert reserved_of(small()) == ()
