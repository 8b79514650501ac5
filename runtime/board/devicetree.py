"""Device trees for the next kernel: the one of QEMU's ``virt`` board, and what another says.

Bindings: Devicetree Specification v0.4; Documentation/devicetree/bindings (arm,gic-v3, psci,
arm,pl011, arm,armv8-timer); how Linux reads memory: drivers/of/fdt.c.
The addresses and interrupts are those of QEMU's ``virt,gic-version=3``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from relokit.codegen.base.bits import round_up
from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.facts import (
    POISON,
    PSCI_64_BIT,
    PSCI_CPU_OFF,
    PSCI_CPU_ON,
    PSCI_CPU_SUSPEND,
    PSCI_MIGRATE,
)
from relokit.codegen.target import Regime
from relokit.codegen.virt_board import (
    GIC_DISTRIBUTOR_BASE,
    GIC_DISTRIBUTOR_SIZE,
    GIC_REDISTRIBUTORS_BASE,
    GIC_REDISTRIBUTORS_SIZE,
    UART_BASE,
    UART_SIZE,
)
from relokit.runtime.board.fdt import MAX_DTB, DeviceTree, Node, Range, parse
from relokit.runtime.guest.address_spans import extents_of, outer, spans_of
from relokit.runtime.guest.memory import MAX_PA

USABLE = "linux,usable-memory"
"""What of a memory node may be used, where that is not all (drivers/of/fdt.c)."""

FREE = 64
"""The least free space that is left behind a tree, in bytes: what a copy loop has in registers."""

TREES = 4
"""How many results are kept of what depends on its arguments alone: machines are much alike."""

UART_CLOCK_HZ = 24_000_000

# Interrupt specifiers of arm,gic-v3: type (0 SPI, 1 PPI), number, trigger.
SPI, PPI, LEVEL_HIGH = 0, 1, 4
UART_SPI = 1
TIMER_PPIS = (13, 14, 11, 10)
"""Secure physical, physical, virtual and EL2 physical timer."""
GIC_MAINTENANCE_PPI = 9

CLOCK_PHANDLE, GIC_PHANDLE = 1, 2

# Function numbers of the SMC calling convention, as the first PSCI binding wants them.
PSCI_CALLS = {
    "cpu_suspend": PSCI_CPU_SUSPEND | PSCI_64_BIT,
    "cpu_off": PSCI_CPU_OFF,
    "cpu_on": PSCI_CPU_ON | PSCI_64_BIT,
    "migrate": PSCI_MIGRATE | PSCI_64_BIT,
}


@lru_cache(maxsize=TREES)
def tree_of(dtb: bytes) -> DeviceTree:
    """``dtb`` as it was walked before: a board's tree has thousands of nodes."""
    return parse(dtb)


def check_dtb(data: bytes | memoryview, *, where: str = "device tree") -> bytes:
    """Return the blob without padding after it; raises FormatError for what is not sound."""
    tree = parse(data, where=where)
    import libfdt

    problem = libfdt.fdt_check_full(bytearray(tree.blob), len(tree.blob))
    if problem:
        raise FormatError(f"libfdt says {libfdt.strerror(problem)}", where=where)
    return tree.blob


@lru_cache(maxsize=TREES)
def virt_dtb(
    memory_base: int,
    memory_size: int,
    *,
    regime: Regime = Regime.EL1,
    more: tuple[Range, ...] = (),
) -> bytes:
    """The tree of QEMU's ``virt`` with a GICv3 and ``memory_size`` bytes of RAM from that PA.

    ``more`` are further banks, which QEMU's has not.
    ``regime`` says what the next kernel may find: with EL2 (``nvhe``, ``vhe``) there is the GIC's
    maintenance interrupt, and PSCI is called by SMC, without by HVC. There is one CPU.
    Raises MachineError for memory that the board cannot have.
    """
    with_el2 = regime is not Regime.EL1
    banks = ((memory_base, memory_size), *more)
    for base, size in banks:
        if base < 0 or size <= 0 or base + size > MAX_PA:
            raise MachineError(
                f"no memory at {base:#x}+{size:#x}", hint="it must end within 52 bits"
            )
    compatible = "linux,dummy-virt"
    root = _node(
        "",
        {
            "interrupt-parent": cells(GIC_PHANDLE),
            "model": strings(compatible),
            "#address-cells": cells(2),
            "#size-cells": cells(2),
            "compatible": strings(compatible),
        },
        _node("chosen", {"stdout-path": strings(f"/pl011@{UART_BASE:x}")}),
        *(
            _node(f"memory@{base:x}", {"device_type": strings("memory"), "reg": quads(base, size)})
            for base, size in banks
        ),
        _node(
            "cpus",
            {"#address-cells": cells(1), "#size-cells": cells(0)},
            _node(
                "cpu@0",
                {
                    "device_type": strings("cpu"),
                    "compatible": strings("arm,cortex-a72"),
                    "enable-method": strings("psci"),
                    "reg": cells(0),
                },
            ),
        ),
        _node(
            "psci",
            {
                "compatible": strings("arm,psci-1.0", "arm,psci-0.2", "arm,psci"),
                "method": strings("smc" if with_el2 else "hvc"),
                **{name: cells(number) for name, number in PSCI_CALLS.items()},
            },
        ),
        _gic(with_el2),
        _node(
            "timer",
            {
                "compatible": strings("arm,armv8-timer", "arm,armv7-timer"),
                "always-on": b"",
                "interrupts": cells(*(v for ppi in TIMER_PPIS for v in (PPI, ppi, LEVEL_HIGH))),
            },
        ),
        _node(
            "apb-pclk",
            {
                "compatible": strings("fixed-clock"),
                "#clock-cells": cells(0),
                "clock-frequency": cells(UART_CLOCK_HZ),
                "clock-output-names": strings("clk24mhz"),
                "phandle": cells(CLOCK_PHANDLE),
            },
        ),
        _node(
            f"pl011@{UART_BASE:x}",
            {
                "compatible": strings("arm,pl011", "arm,primecell"),
                "reg": quads(UART_BASE, UART_SIZE),
                "interrupts": cells(SPI, UART_SPI, LEVEL_HIGH),
                "clocks": cells(CLOCK_PHANDLE, CLOCK_PHANDLE),
                "clock-names": strings("uartclk", "apb_pclk"),
            },
        ),
    )
    return _flatten(root)


def in_whole_pages(dtb: bytes, page_size: int) -> bytes:
    """``dtb`` with free space behind it, as far as pages of ``page_size`` bytes go; none is zero.

    A tree may have free space within its totalsize, and nobody reads that (Devicetree
    Specification, 5.1). One that would grow past 2 MiB stays as it is.
    """
    size = round_up(len(dtb) + FREE, page_size)
    if size > MAX_DTB:
        return dtb
    filler = POISON.to_bytes(8, "little") * (size // 8)
    return dtb[:4] + size.to_bytes(4, "big") + dtb[8:] + filler[len(dtb) :]


def memory_of(dtb: bytes) -> tuple[Range, ...]:
    """RAM as Linux finds it in the root's memory nodes, ascending (base, size); maybe none.

    Banks that adjoin are one. A node's ``linux,usable-memory`` counts instead of its ``reg``.
    Raises FormatError if a range passes 2^64.
    """
    root = tree_of(dtb).root
    found = [
        entry
        for node in memory_nodes(root)
        for entry in ranges_in(node, root, USABLE if USABLE in node.properties else "reg")
        if entry[1]
    ]
    return extents_of(spans_of(found))


def empty_memory(dtb: bytes) -> int | None:
    """Where the first memory node is that has an address and no size: firmware would fill it in."""
    root = tree_of(dtb).root
    return next((base for node in memory_nodes(root) for base, _ in reg_of(node, root)), None)


def memory_nodes(root: Node) -> list[Node]:
    """The nodes that Linux takes for memory."""
    named = (node for node in root.children if node.properties.get("device_type") == b"memory\0")
    return [node for node in named if node.enabled]


@lru_cache(maxsize=TREES)
def with_memory(dtb: bytes, banks: tuple[Range, ...]) -> bytes:
    """A copy of ``dtb`` whose memory nodes are those of ``banks`` and no others.

    Raises FormatError for an unsound tree, MachineError for one whose cells cannot hold a bank.
    """
    import libfdt

    blob = check_dtb(dtb)
    root = tree_of(blob).root
    fdt = libfdt.Fdt(blob)
    for node in root.children:
        if node.properties.get("device_type") == b"memory\0":
            fdt.del_node(fdt.path_offset(f"/{node.name}"))
    fdt.resize(len(blob) + 128 * len(banks) + 64)
    for base, size in reversed(banks):
        name = f"memory@{base:x}"
        if root.child(name) is not None and fdt.path_offset(f"/{name}", [libfdt.NOTFOUND]) >= 0:
            raise MachineError(f"the device tree has a node {name} that is no memory")
        node = fdt.add_subnode(0, name)
        fdt.setprop(node, "device_type", strings("memory"))
        fdt.setprop(node, "reg", root_range(root, (base, size)))
    fdt.pack()
    return bytes(fdt.as_bytearray())


@lru_cache(maxsize=TREES)
def reserved_of(dtb: bytes) -> tuple[Range, ...]:
    """What nothing may be placed on, ascending: reservations and fixed /reserved-memory nodes.

    A /reserved-memory node without ``reg`` is for the kernel to place, so it reserves nothing yet.
    """
    tree = tree_of(dtb)
    found = (*tree.reservations, *_reserved_nodes(tree.root, lambda _: True))
    return tuple(sorted(entry for entry in found if entry[1]))


def reserved_by(dtb: bytes, pa: int, page_size: int) -> str | None:
    """Who reserves the page at ``pa``: a /reserved-memory node by path, or /memreserve/."""
    tree = tree_of(dtb)
    found = [("/memreserve/", list(tree.reservations))]
    parent = tree.root.child("reserved-memory")
    if parent is not None:
        found += [
            (f"/{parent.name}/{node.name}", reg_of(node, parent))
            for node in parent.children
            if node.enabled and "reg" in node.properties
        ]
    for name, entries in found:
        spans = outer(spans_of(entry for entry in entries if entry[1]), page_size)
        if any(low <= pa < high for low, high in spans):
            return name
    return None


def unmapped_of(dtb: bytes) -> tuple[Range, ...]:
    """That of it which may not be mapped either (``no-map``)."""
    return tuple(
        sorted(_reserved_nodes(tree_of(dtb).root, lambda node: "no-map" in node.properties))
    )


def _reserved_nodes(root: Node, wanted: Callable[[Node], bool]) -> Iterator[Range]:
    parent = root.child("reserved-memory")
    for node in parent.children if parent is not None else ():
        if node.enabled and "reg" in node.properties and wanted(node):
            yield from (entry for entry in reg_of(node, parent or root) if entry[1])


def node_at(dtb: bytes, pa: int) -> str | None:
    """The name of the device whose registers PA ``pa`` is among; None if there is none.

    Buses that translate addresses are not looked into.
    """
    left = [parse(dtb).root]
    while left:
        parent = left.pop()
        for node in parent.children:
            # A node whose registers cannot be read is no device that a kernel could use.
            with suppress(FormatError):
                if any(base <= pa < base + size for base, size in reg_of(node, parent)):
                    return node.name
            if node.properties.get("ranges") == b"":
                left.append(node)
    return None


def cells(*values: int) -> bytes:
    """A property of 32-bit numbers."""
    return struct.pack(f">{len(values)}I", *values)


def quads(*values: int) -> bytes:
    """A property of 64-bit numbers, two cells each."""
    return struct.pack(f">{len(values)}Q", *values)


def strings(*values: str) -> bytes:
    """A property of NUL-terminated strings."""
    return b"".join(value.encode() + b"\0" for value in values)


def _node(name: str, properties: Mapping[str, bytes], *children: Node) -> Node:
    return Node(name, properties, children)


def _gic(with_el2: bool) -> Node:
    properties = {
        "compatible": strings("arm,gic-v3"),
        "interrupt-controller": b"",
        "#interrupt-cells": cells(3),
        "#address-cells": cells(0),
        "#redistributor-regions": cells(1),
        "reg": quads(
            *(GIC_DISTRIBUTOR_BASE, GIC_DISTRIBUTOR_SIZE),
            *(GIC_REDISTRIBUTORS_BASE, GIC_REDISTRIBUTORS_SIZE),
        ),
        "phandle": cells(GIC_PHANDLE),
    }
    if with_el2:
        properties["interrupts"] = cells(PPI, GIC_MAINTENANCE_PPI, LEVEL_HIGH)
    return _node(f"intc@{GIC_DISTRIBUTOR_BASE:x}", properties)


def _flatten(root: Node) -> bytes:
    import libfdt

    writer = libfdt.FdtSw(4096)
    writer.finish_reservemap()
    _write(writer, root)
    fdt = writer.as_fdt()
    fdt.pack()
    return bytes(fdt.as_bytearray())


def _write(writer: Any, node: Node) -> None:
    with writer.add_node(node.name):
        for name, value in node.properties.items():
            writer.property(name, value)
        for child in node.children:
            _write(writer, child)


def reg_of(node: Node, parent: Node) -> list[Range]:
    """The ``reg`` of ``node`` by its parent's cell counts (section 2.3.6; defaults 2 and 1)."""
    return ranges_in(node, parent, "reg")


def ranges_in(node: Node, parent: Node, name: str) -> list[Range]:
    """The property ``name`` of ``node``, if it is there, in entries like those of ``reg``."""
    address_size, size_size = _cell_bytes(parent)
    reg = node.properties.get(name, b"")
    entry = address_size + size_size
    if not 4 <= address_size <= 8 or not 4 <= size_size <= 8 or len(reg) % entry:
        raise FormatError(
            f"{name} of {node.name} has {len(reg)} bytes, not entries of "
            f"{address_size}+{size_size}",
            where="device tree",
        )
    ranges = []
    for at in range(0, len(reg), entry):
        base = int.from_bytes(reg[at : at + address_size], "big")
        size = int.from_bytes(reg[at + address_size : at + entry], "big")
        if base + size > 1 << 64:
            raise FormatError(
                f"{name} of {node.name}: {base:#x}+{size:#x} passes 2^64", where="device tree"
            )
        ranges.append((base, size))
    return ranges


def root_range(root: Node, extent: Range) -> bytes:
    """``extent`` as an entry in the root's cells; MachineError if they are too small."""
    parts = list(zip(extent, _cell_bytes(root), strict=True))
    if any(number >> 8 * size for number, size in parts):
        raise MachineError(
            f"the device tree's cells cannot hold {extent[0]:#x}+{extent[1]:#x}",
            hint="give a tree whose root has #address-cells and #size-cells of 2",
        )
    return b"".join(number.to_bytes(size, "big") for number, size in parts)


def _cell_bytes(parent: Node) -> tuple[int, int]:
    return 4 * parent.cell("#address-cells", 2), 4 * parent.cell("#size-cells", 1)
