"""Odd device trees on the shape of QEMU's board, written by libfdt."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import libfdt

from relokit.codegen.target import Regime
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.board.fdt import Node, parse

GIB = 1 << 30
Extents = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Board:
    """A board by what is odd of it; (PA, bytes) each, ``cells`` of 32 bits a number.

    ``reserved`` are nodes of /reserved-memory, ``reservations`` are memreserve entries.
    """

    memory: Extents = ((GIB, 2 * GIB),)
    memory_properties: Mapping[str, bytes] = field(default_factory=dict)
    reserved: Extents = ()
    no_map: bool = False
    reservations: Extents = ()
    chosen: Mapping[str, bytes] = field(default_factory=dict)
    cells: int = 2

    def blob(self) -> bytes:
        writer = libfdt.FdtSw(4096)
        for base, size in self.reservations:
            writer.add_reservemap_entry(base, size)
        writer.finish_reservemap()
        with writer.add_node(""):
            root = parse(virt_dtb(GIB, GIB, regime=Regime.NVHE)).root
            cells = struct.pack(">I", self.cells)
            writer.property("#address-cells", cells)
            writer.property("#size-cells", cells)
            for name in ("compatible", "interrupt-parent"):
                writer.property(name, root.properties[name])
            with writer.add_node("chosen"):
                for name, value in self.chosen.items():
                    writer.property(name, value)
            for index, (base, size) in enumerate(self.memory):
                with writer.add_node(f"memory@{base:x},{index}"):
                    writer.property("device_type", b"memory\0")
                    writer.property("reg", self._range(base, size))
                    for name, value in self.memory_properties.items():
                        writer.property(name, value)
            self._reserved(writer, cells)
            for child in root.children:
                if child.name != "chosen" and not child.name.startswith("memory"):
                    self._copy(writer, child)
        tree = writer.as_fdt()
        tree.pack()
        return bytes(tree.as_bytearray())

    def _reserved(self, writer: Any, cells: bytes) -> None:
        if not self.reserved:
            return
        with writer.add_node("reserved-memory"):
            writer.property("#address-cells", cells)
            writer.property("#size-cells", cells)
            writer.property("ranges", b"")
            for index, (base, size) in enumerate(self.reserved):
                with writer.add_node(f"kept@{base:x},{index}"):
                    writer.property("reg", self._range(base, size))
                    if self.no_map:
                        writer.property("no-map", b"")

    def _copy(self, writer: Any, node: Node) -> None:
        with writer.add_node(node.name):
            for name, value in node.properties.items():
                if name != "reg" or len(value) % 16 or self.cells == 2:
                    writer.property(name, value)
            for child in node.children:
                self._copy(writer, child)

    def _range(self, base: int, size: int) -> bytes:
        length = 4 * self.cells
        return base.to_bytes(length, "big") + size.to_bytes(length, "big")
