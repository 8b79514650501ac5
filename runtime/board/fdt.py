"""A flattened device tree, walked strictly: nothing native sees a blob that was not walked here.

Layout: Devicetree Specification v0.4, chapter 5. All numbers in it are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import field
from itertools import pairwise
from types import MappingProxyType

from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass

TREE_BYTES = 16
"""What a byte of one becomes, as objects."""
MAX_DTB = 2 << 20
"""Largest device tree a kernel accepts, in bytes (booting.rst)."""
MAX_DEPTH = 64
"""Levels of nodes; Linux's own unflattening stops at 64 too."""
MAX_NAME = 255
MAX_RESERVATIONS = 4096

MAGIC = 0xD00DFEED
HEADER = struct.Struct(">10I")
"""magic, totalsize, offsets of structure, strings and reservations, version, last compatible
version, boot CPU, sizes of strings and structure."""
VERSION = 17

BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9

Range = tuple[int, int]
"""First address and size in bytes."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its name with unit address, properties as raw bytes, children in order."""

    name: str
    properties: Mapping[str, bytes]
    children: tuple[Node, ...]

    def child(self, name: str) -> Node | None:
        """The child called ``name``, if there is one."""
        return next((node for node in self.children if node.name == name), None)

    def cell(self, name: str, default: int) -> int:
        """The 32-bit property ``name``, or ``default`` where it is missing or has another size."""
        value = self.properties.get(name, b"")
        return int.from_bytes(value, "big") if len(value) == 4 else default

    @property
    def enabled(self) -> bool:
        """Whether ``status`` is missing, ``okay`` or ``ok`` (section 2.3.4)."""
        return self.properties.get("status", b"okay\0") in (b"okay\0", b"ok\0")


@dataclass(frozen=True, slots=True)
class DeviceTree:
    """A whole tree. ``blob`` is exactly totalsize bytes; ``reservations`` are (base, size)."""

    root: Node
    reservations: tuple[Range, ...]
    blob: bytes = field(repr=False)


def parse(data: bytes | memoryview, *, where: str = "device tree") -> DeviceTree:
    """Walk a blob from end to end; raises FormatError naming ``where``, the offset and the cause.

    Accepted: versions 16 and 17 compatible, at most 2 MiB, zero padding after totalsize.
    """
    spend(TREE_BYTES * min(len(data), MAX_DTB), "device trees", where)
    return _Walk(bytes(data[: MAX_DTB + 1]), where).tree()


class _Walk:
    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        if len(data) < HEADER.size:
            raise self._error(f"truncated: {len(data)} bytes, the header alone has {HEADER.size}")
        (
            magic,
            self._total,
            self._struct,
            self._strings,
            self._reservations,
            version,
            last_compatible,
            _,
            strings_size,
            struct_size,
        ) = HEADER.unpack_from(data)
        if magic != MAGIC:
            raise self._error(
                f"not a device tree blob: magic is {magic:#010x}, not {MAGIC:#x}",
                hint="compile the source with dtc -O dtb",
            )
        if version < VERSION or last_compatible > VERSION:
            raise self._error(
                f"version {version}, compatible back to {last_compatible}: only {VERSION} is known"
            )
        if len(data) > MAX_DTB or self._total > MAX_DTB:
            raise self._error(
                f"{max(self._total, len(data))} bytes or more: a kernel accepts {MAX_DTB} at most"
            )
        if self._total > len(data):
            raise self._error(
                f"truncated: totalsize is {self._total} bytes, but only {len(data)} are there"
            )
        if any(data[self._total :]):
            raise self._error(f"trailing garbage: bytes after the {self._total} of totalsize")
        self._struct_end = self._struct + struct_size
        self._strings_end = self._strings + strings_size
        for name, start, end, align in (
            ("structure block", self._struct, self._struct_end, 4),
            ("strings block", self._strings, self._strings_end, 1),
            ("memory reservations", self._reservations, self._reservations + 16, 8),
        ):
            if start < HEADER.size or end > self._total or start % align:
                raise self._error(f"{name} at {start:#x}..{end:#x} outside the blob or unaligned")

    def tree(self) -> DeviceTree:
        return DeviceTree(
            root=self._root(),
            reservations=tuple(self._walk_reservations()),
            blob=self._data[: self._total],
        )

    def _error(self, message: str, *, hint: str | None = None) -> FormatError:
        return FormatError(message, where=self._where, hint=hint)

    def _walk_reservations(self) -> Iterator[Range]:
        at = self._reservations
        for _ in range(MAX_RESERVATIONS):
            if at + 16 > self._total:
                break
            base, size = struct.unpack_from(">QQ", self._data, at)
            if (base, size) == (0, 0):
                self._check_apart(at + 16)
                return
            if base + size > 1 << 64:
                raise self._error(f"memory reservation {base:#x}+{size:#x} passes 2^64")
            yield base, size
            at += 16
        raise self._error("memory reservations do not end")

    def _check_apart(self, end: int) -> None:
        """The reservations end at ``end``. Blocks in one another are moved by libfdt over the end
        of what it has.
        """
        blocks = sorted(
            (
                (self._reservations, end, "memory reservations"),
                (self._struct, self._struct_end, "structure block"),
                (self._strings, self._strings_end, "strings block"),
            )
        )
        for (_, before, first), (start, _, second) in pairwise(blocks):
            if start < before:
                raise self._error(f"{first} and {second} overlap at {start:#x}")

    def _root(self) -> Node:
        """The structure block without recursion: open nodes are a stack of bounded depth."""
        names: list[str] = []
        properties: list[dict[str, bytes]] = []
        children: list[dict[str, Node]] = [{}]
        at = self._struct
        while True:
            token, at = self._word(at), at + 4
            if token == BEGIN_NODE:
                if len(names) == MAX_DEPTH:
                    raise self._error(f"nodes nested more than {MAX_DEPTH} deep at {at - 4:#x}")
                if not names and children[0]:
                    raise self._error(f"second root node at {at - 4:#x}")
                name = self._string(at, self._struct_end, "node name")
                if bool(name) != bool(names) or "/" in name:
                    raise self._error(f"node name {name!r} at {at:#x} is empty or has a slash")
                at = _aligned(at + len(name.encode()) + 1)
                names.append(name)
                properties.append({})
                children.append({})
            elif token == PROP and names:
                size, name_at = self._word(at), self._word(at + 4)
                if children[-1]:
                    raise self._error(f"property after a subnode at {at - 4:#x}")
                if at + 8 + size > self._struct_end:
                    raise self._error(f"property of {size} bytes at {at - 4:#x} passes the block")
                if name_at >= self._strings_end - self._strings:
                    raise self._error(f"property name of {at - 4:#x} is outside the strings block")
                name = self._string(self._strings + name_at, self._strings_end, "property name")
                if not name or name in properties[-1]:
                    raise self._error(f"property {name!r} at {at - 4:#x} is empty or there twice")
                properties[-1][name] = self._data[at + 8 : at + 8 + size]
                at = _aligned(at + 8 + size)
            elif token == END_NODE and names:
                name, below = names.pop(), tuple(children.pop().values())
                if name in children[-1]:
                    raise self._error(f"node {name!r} that ends at {at:#x} is there twice")
                children[-1][name] = Node(name, MappingProxyType(properties.pop()), below)
            elif token == END and not names and children[0]:
                if at != self._struct_end:
                    raise self._error(f"the structure ends at {at:#x}, before its block does")
                return children[0][""]
            elif token != NOP:
                raise self._error(f"unexpected token {token:#x} at {at - 4:#x}")

    def _word(self, at: int) -> int:
        if at + 4 > self._struct_end:
            raise self._error(f"the structure block ends inside a token at {at:#x}")
        return int.from_bytes(self._data[at : at + 4], "big")

    def _string(self, at: int, end: int, what: str) -> str:
        stop = self._data.find(b"\0", at, min(end, at + MAX_NAME + 1))
        if stop < 0:
            raise self._error(f"{what} at {at:#x} has no end within {MAX_NAME} bytes")
        try:
            return self._data[at:stop].decode("ascii")
        except UnicodeDecodeError:
            raise self._error(f"{what} at {at:#x} is not ASCII") from None


def _aligned(at: int) -> int:
    return at + 3 & ~3
