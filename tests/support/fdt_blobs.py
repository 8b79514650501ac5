"""Flattened device trees by hand, token by token (Devicetree Specification, chapter 5)."""

from __future__ import annotations

import struct

BEGIN, END_NODE, PROP, NOP, END = (struct.pack(">I", token) for token in (1, 2, 3, 4, 9))


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class Tree:
    """A blob in the making: the structure block as bytes, strings as they come."""

    def __init__(self) -> None:
        self.strings = b""

    def prop(self, name: str, value: bytes) -> bytes:
        at = len(self.strings)
        self.strings += name.encode() + b"\0"
        return PROP + struct.pack(">II", len(value), at) + padded(value)

    def node(self, name: str, *content: bytes) -> bytes:
        return BEGIN + padded(name.encode() + b"\0") + b"".join(content) + END_NODE

    def blob(
        self,
        structure: bytes,
        *,
        reservations: tuple[tuple[int, int], ...] = (),
        **header: int,
    ) -> bytes:
        reserve = b"".join(struct.pack(">QQ", *entry) for entry in (*reservations, (0, 0)))
        fields = {
            "magic": 0xD00DFEED,
            "totalsize": 40 + len(reserve) + len(structure) + len(self.strings),
            "off_struct": 40 + len(reserve),
            "off_strings": 40 + len(reserve) + len(structure),
            "off_reserve": 40,
            "version": 17,
            "last_comp": 16,
            "boot_cpu": 0,
            "size_strings": len(self.strings),
            "size_struct": len(structure),
        } | header
        return struct.pack(">10I", *fields.values()) + reserve + structure + self.strings


def small(**header: int) -> bytes:
    tree = Tree()
    return tree.blob(tree.node("", tree.prop("model", b"m\0"), tree.node("a")) + END, **header)


def quads(*values: int) -> bytes:
    return struct.pack(f">{len(values)}Q", *values)
