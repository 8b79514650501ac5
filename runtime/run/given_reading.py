"""Guest RAM to Given: the Image's header and the device tree that the new kernel finds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TypedDict

from relokit.codegen.base.errors import FormatError
from relokit.linker.kernel.kernel_file import HEADER, IMAGE_MAGIC
from relokit.runtime.board.chosen import (
    CORE_HEADER,
    KHO_SCRATCH,
    KHO_TREE,
    SEEDS,
    UEFI,
    USABLE_RANGE,
    initrd_of,
)
from relokit.runtime.board.devicetree import memory_of, ranges_in, reg_of, reserved_of, tree_of
from relokit.runtime.board.fdt import HEADER as TREE_HEADER
from relokit.runtime.board.fdt import MAGIC, MAX_DTB, Node
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.record.given import CpuNode, Extent, Given, ImageGiven, TreeGiven

MAX_PROBLEM = 200
"""Characters of a reason that is kept."""
MAX_CPUS = 4096
MAX_SCRATCH = 4096
"""Bytes of KHO's table of scratch areas."""
MAX_BOOTARGS = 2048
"""COMMAND_LINE_SIZE of arm64: a kernel reads no more."""
SPIN_TABLE = "spin-table"
PSCI = frozenset({b"arm,psci", b"arm,psci-0.2", b"arm,psci-1.0"})
GICV2 = frozenset({b"arm,gic-400", b"arm,cortex-a15-gic", b"arm,cortex-a7-gic"})


def given(memory: GuestMemory, image: int, tree: int | None, crash: Extent | None = None) -> Given:
    """What is at PA ``image`` and at PA ``tree`` (None: no tree is promised).

    ``crash`` is what was set aside for the kernel that is entered, if it is a crash kernel.
    """
    return Given(_image(memory, image), None if tree is None else _tree(memory, tree), crash)


def _image(memory: GuestMemory, at: int) -> ImageGiven | None:
    if not memory.contains(at, HEADER.size):
        return None
    words = HEADER.unpack(memory.read(at, HEADER.size))
    if words[8] != IMAGE_MAGIC:
        return None
    return ImageGiven(at, text_offset=words[2], image_size=words[3], flags=words[4])


def _tree(memory: GuestMemory, at: int) -> TreeGiven:
    if not memory.contains(at, TREE_HEADER.size):
        return TreeGiven(at=at, size=0, problem="it is not in RAM")
    magic, size, *_ = TREE_HEADER.unpack(memory.read(at, TREE_HEADER.size))
    if magic != MAGIC:
        return TreeGiven(at=at, size=0, problem=f"its first word is {magic:#010x}, not {MAGIC:#x}")
    if not memory.contains(at, size):
        return TreeGiven(at=at, size=size, problem="it does not end in RAM")
    if size > MAX_DTB:
        return TreeGiven(at=at, size=size, problem=f"a kernel accepts {MAX_DTB} bytes at most")
    found = _with_scratch(memory, _parsed(at, memory.read(at, size)))
    if all(cpu.release is None for cpu in found.cpus):
        return found
    return _with_pens(memory, found)


@lru_cache(maxsize=4)
def _parsed(at: int, blob: bytes) -> TreeGiven:
    """Cells of a matrix have the same tree at the same place."""
    try:
        root = tree_of(blob).root
        chosen = root.child("chosen")
        return TreeGiven(
            at=at,
            size=len(blob),
            memory=memory_of(blob),
            reserved=reserved_of(blob),
            unmapped=tuple(_unmapped(root)),
            chosen=chosen is not None,
            **_chosen(root, chosen),
            bootargs=_bootargs(chosen),
            cpus=tuple(_cpus(root)),
            psci=_has_psci(root),
            gicv2=_has_gicv2(root),
        )
    except FormatError as error:
        return TreeGiven(at=at, size=len(blob), problem=error.message[:MAX_PROBLEM])


def _has_psci(root: Node) -> bool:
    """Linux looks for it by what it is compatible with, wherever it is: /psci, /firmware/psci."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        waiting += node.children
        if node.enabled and PSCI & set(node.properties.get("compatible", b"").split(b"\0")):
            return True
    return False


def _has_gicv2(root: Node) -> bool:
    """Bindings: interrupt-controller/arm,gic.yaml."""
    found = [node for node in root.children if "interrupt-controller" in node.properties]
    names = {name for node in found for name in node.properties.get("compatible", b"").split(b"\0")}
    return bool(names & GICV2)


def _unmapped(root: Node) -> Iterator[Extent]:
    parent = root.child("reserved-memory")
    for node in parent.children if parent else ():
        if node.enabled and "no-map" in node.properties:
            yield from reg_of(node, parent or root)


class _Chosen(TypedDict, total=False):
    initrd: Extent | None
    usable: tuple[Extent, ...]
    core_header: Extent | None
    seeds: tuple[str, ...]
    spent_seeds: tuple[str, ...]
    kho_tree: Extent | None
    kho_scratch: Extent | None
    uefi: bool


def _chosen(root: Node, chosen: Node | None) -> _Chosen:
    """What /chosen says of memory, and seeds."""
    if chosen is None:
        return {}

    def first(name: str) -> Extent | None:
        return next(iter(ranges_in(chosen, root, name)), None)

    seeds = tuple(name for name in SEEDS if name in chosen.properties)
    return {
        "initrd": initrd_of(chosen),
        "usable": tuple(ranges_in(chosen, root, USABLE_RANGE)),
        "core_header": first(CORE_HEADER),
        "seeds": seeds,
        "spent_seeds": tuple(name for name in seeds if not any(chosen.properties[name])),
        "kho_tree": first(KHO_TREE),
        "kho_scratch": first(KHO_SCRATCH),
        "uefi": UEFI in chosen.properties,
    }


def _with_scratch(memory: GuestMemory, tree: TreeGiven) -> TreeGiven:
    """With the areas that are in KHO's table of them: pairs of address and size."""
    table = tree.kho_scratch
    if table is None or table[1] > MAX_SCRATCH or not memory.contains(*table):
        return tree
    numbers = struct.unpack(f"<{table[1] // 16 * 2}Q", memory.read(table[0], table[1] // 16 * 16))
    return replace(tree, scratch=tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def _bootargs(chosen: Node | None) -> str | None:
    value = chosen.properties.get("bootargs") if chosen else None
    if value is None:
        return None
    return value.rstrip(b"\0").decode("utf-8", "replace")[:MAX_BOOTARGS]


def _cpus(root: Node) -> Iterator[CpuNode]:
    parent = root.child("cpus")
    nodes = parent.children if parent else ()
    for node in nodes[:MAX_CPUS]:
        if node.properties.get("device_type") != b"cpu\0":
            continue
        method = node.properties.get("enable-method")
        text = None if method is None else method.rstrip(b"\0").decode("ascii", "replace")
        release = node.properties.get("cpu-release-addr")
        at = int.from_bytes(release[:8], "big") if release and text == SPIN_TABLE else None
        yield CpuNode(node.name, text, at)


def _with_pens(memory: GuestMemory, tree: TreeGiven) -> TreeGiven:
    def filled(cpu: CpuNode) -> CpuNode:
        if cpu.release is None or not memory.contains(cpu.release, 8):
            return cpu
        held = int.from_bytes(memory.read(cpu.release, 8), "little")
        return replace(cpu, held=held)

    return replace(tree, cpus=tuple(filled(cpu) for cpu in tree.cpus))
