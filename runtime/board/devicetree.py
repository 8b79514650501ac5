"""Device trees for the next kernel: the one of QEMU's ``virt`` board, a person's own, /chosen.

Bindings: Devicetree Specification v0.4; Documentation/devicetree/bindings (arm,gic-v3, psci,
arm,pl011, arm,armv8-timer); /chosen as kexec fills it: Documentation/devicetree/usage-model.rst.
The addresses and interrupts are those of QEMU's ``virt,gic-version=3``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.facts import (
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
from relokit.runtime.guest.memory import MAX_PA

MAX_CMDLINE = 2048
"""COMMAND_LINE_SIZE of arm64, in bytes with the final NUL."""

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


def check_dtb(data: bytes | memoryview, *, where: str = "device tree") -> bytes:
    """Return the blob without padding after it; raises FormatError for what is not sound."""
    tree = parse(data, where=where)
    import libfdt

    problem = libfdt.fdt_check_full(bytearray(tree.blob), len(tree.blob))
    if problem:
        raise FormatError(f"libfdt says {libfdt.strerror(problem)}", where=where)
    return tree.blob


@lru_cache(maxsize=TREES)
def virt_dtb(memory_base: int, memory_size: int, *, regime: Regime = Regime.EL1) -> bytes:
    """The tree of QEMU's ``virt`` with a GICv3 and ``memory_size`` bytes of RAM from that PA.

    ``regime`` says what the next kernel may find: with EL2 (``nvhe``, ``vhe``) there is the GIC's
    maintenance interrupt, and PSCI is called by SMC, without by HVC. There is one CPU.
    Raises MachineError for memory that the board cannot have.
    """
    with_el2 = regime is not Regime.EL1
    if memory_base < 0 or memory_size <= 0 or memory_base + memory_size > MAX_PA:
        raise MachineError(
            f"no memory at {memory_base:#x}+{memory_size:#x}", hint="it must end within 52 bits"
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
        _node(
            f"memory@{memory_base:x}",
            {"device_type": strings("memory"), "reg": quads(memory_base, memory_size)},
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


@lru_cache(maxsize=TREES)
def with_chosen(
    dtb: bytes, *, cmdline: str | None = None, initrd: tuple[int, int] | None = None
) -> bytes:
    """A copy of ``dtb`` whose /chosen says what kexec says: command line and initrd.

    ``initrd`` is (first PA, first PA after it). A command line of None keeps the tree's own, an
    empty one removes it; no initrd removes what the tree said of one. Same input, same bytes.
    Raises FormatError for an unsound tree, MachineError for a command line that the kernel would
    cut or a tree that grows past 2 MiB.
    """
    bootargs = _bootargs(cmdline or "")
    blob = check_dtb(dtb)
    import libfdt

    fdt = libfdt.Fdt(blob)
    # Room for a /chosen node, three properties and their names; pack() gives back the rest.
    fdt.resize(len(blob) + len(bootargs) + 256)
    chosen = fdt.path_offset("/chosen", [libfdt.NOTFOUND])
    if chosen < 0:
        chosen = fdt.add_subnode(0, "chosen")
    values: dict[str, bytes | None] = {"linux,initrd-start": None, "linux,initrd-end": None}
    if cmdline is not None:
        values["bootargs"] = bootargs or None
    if initrd is not None:
        start, end = initrd
        if not 0 <= start < end < 1 << 64:
            raise MachineError(f"no initrd from {start:#x} to {end:#x}")
        values["linux,initrd-start"] = quads(start)
        values["linux,initrd-end"] = quads(end)
    for name, value in values.items():
        if value is None:
            fdt.delprop(chosen, name, [libfdt.NOTFOUND])
        else:
            fdt.setprop(chosen, name, value)
    fdt.pack()
    result = bytes(fdt.as_bytearray())
    if len(result) > MAX_DTB:
        raise MachineError(
            f"the device tree grows to {len(result)} bytes with its /chosen, "
            f"but a kernel accepts {MAX_DTB} at most",
            hint="give a smaller tree",
        )
    return result


def memory_of(dtb: bytes, *, where: str = "device tree") -> tuple[Range, ...]:
    """RAM as Linux finds it: the ``reg`` of the root's memory nodes, ascending (base, size).

    Raises FormatError naming ``where`` if there is none, or if a range passes 2^64.
    """
    root = parse(dtb).root
    found = [
        entry
        for node in root.children
        if node.properties.get("device_type") == b"memory\0" and node.enabled
        for entry in reg_of(node, root)
        if entry[1]
    ]
    if not found:
        raise FormatError(
            "no memory node with a size",
            where=where,
            hint="firmware fills it in at boot: give a running machine's tree (/sys/firmware/fdt), "
            'or add reg to the node with device_type = "memory"',
        )
    return tuple(sorted(found))


@lru_cache(maxsize=TREES)
def reserved_of(dtb: bytes) -> tuple[Range, ...]:
    """What nothing may be placed on, ascending: reservations and fixed /reserved-memory nodes.

    A /reserved-memory node without ``reg`` is for the kernel to place, so it reserves nothing yet.
    """
    tree: DeviceTree = parse(dtb)
    found = list(tree.reservations)
    parent = tree.root.child("reserved-memory")
    if parent is not None:
        for node in parent.children:
            if node.enabled and "reg" in node.properties:
                found += reg_of(node, parent)
    return tuple(sorted(entry for entry in found if entry[1]))


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


def _bootargs(cmdline: str) -> bytes:
    try:
        text = cmdline.encode()
    except UnicodeEncodeError:
        raise MachineError("the command line is not UTF-8") from None
    if b"\0" in text:
        raise MachineError("the command line has a NUL in it")
    if len(text) >= MAX_CMDLINE:
        raise MachineError(
            f"the command line has {len(text)} bytes: the kernel would cut it at {MAX_CMDLINE - 1}"
        )
    return text + b"\0" if text else b""


def reg_of(node: Node, parent: Node) -> list[Range]:
    """The ``reg`` of ``node`` by its parent's cell counts (section 2.3.6; defaults 2 and 1)."""
    address_size = 4 * parent.cell("#address-cells", 2)
    size_size = 4 * parent.cell("#size-cells", 1)
    reg = node.properties.get("reg", b"")
    entry = address_size + size_size
    if not 4 <= address_size <= 8 or not 4 <= size_size <= 8 or len(reg) % entry:
        raise FormatError(
            f"reg of {node.name} has {len(reg)} bytes, not entries of {address_size}+{size_size}",
            where="device tree",
        )
    ranges = []
    for at in range(0, len(reg), entry):
        base = int.from_bytes(reg[at : at + address_size], "big")
        size = int.from_bytes(reg[at + address_size : at + entry], "big")
        if base + size > 1 << 64:
            raise FormatError(
                f"reg of {node.name}: {base:#x}+{size:#x} passes 2^64", where="device tree"
            )
        ranges.append((base, size))
    return ranges
