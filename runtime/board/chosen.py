"""/chosen as kexec fills it: what was the old kernel's goes, what is the new one's comes.

Sources: Documentation/devicetree/usage-model.rst, Documentation/admin-guide/kdump/kdump.rst,
Documentation/core-api/kho/, and the schema of /chosen (dt-schema, schemas/chosen.yaml).
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any

from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.board.devicetree import TREES, check_dtb, quads, ranges_in, root_range, tree_of
from relokit.runtime.board.fdt import MAX_DTB, Node, Range

MAX_CMDLINE = 2048
"""COMMAND_LINE_SIZE of arm64, in bytes with the final NUL."""

INITRD_START, INITRD_END = "linux,initrd-start", "linux,initrd-end"
CORE_HEADER = "linux,elfcorehdr"
USABLE_RANGE = "linux,usable-memory-range"
KHO_TREE, KHO_SCRATCH = "linux,kho-fdt", "linux,kho-scratch"
IMA_BUFFER = "linux,ima-kexec-buffer"

STALE_RANGES = (CORE_HEADER, USABLE_RANGE, KHO_TREE, KHO_SCRATCH, IMA_BUFFER)
"""What names memory of the kernel that is left, by address and size in the root's cells."""
UEFI = "linux,uefi-system-table"
EFI_FACTS = (
    UEFI,
    "linux,uefi-mmap-start",
    "linux,uefi-mmap-size",
    "linux,uefi-mmap-desc-size",
    "linux,uefi-mmap-desc-ver",
    "linux,uefi-secure-boot",
)
"""What an EFI stub has left: tables in memory of a firmware that is not on this machine."""
SEEDS = ("kaslr-seed", "rng-seed")
"""Used up by the kernel that was booted with them, which leaves zeros or nothing in them."""


@dataclass(frozen=True, slots=True)
class CrashMemory:
    """What a crash kernel is told: its memory, and the ELF core header; PA and bytes each."""

    usable: Range
    core: Range


@lru_cache(maxsize=TREES)
def without_old(dtb: bytes, *, seed: int = 0) -> bytes:
    """A copy of ``dtb`` without what /chosen says of the kernel that is left, and new seeds.

    Memory reservations of what is removed go, too. A seed that is there is made anew, of as many
    bytes, from ``seed`` and its name. Raises FormatError for an unsound tree.
    """
    import libfdt

    root = tree_of(check_dtb(dtb)).root
    node = root.child("chosen")
    if node is None:
        return dtb
    fdt = libfdt.Fdt(check_dtb(dtb))
    chosen = fdt.path_offset("/chosen")
    gone = {at for name in STALE_RANGES for at in _ranges(root, node, name)}
    initrd = initrd_of(node)
    if initrd is not None:
        # Firmware may have reserved whole pages of whatever size.
        start, size = initrd
        gone |= {(start, -(-size // step) * step) for step in (1, 4096, 16384, 65536)}
    for name in (*STALE_RANGES, *EFI_FACTS, INITRD_START, INITRD_END):
        fdt.delprop(chosen, name, [libfdt.NOTFOUND])
    for index in reversed(range(fdt.num_mem_rsv())):
        if tuple(fdt.get_mem_rsv(index)) in gone:
            libfdt.fdt_del_mem_rsv(fdt._fdt, index)
    for name in SEEDS:
        if name in node.properties:
            fdt.setprop(chosen, name, _renewed(name, seed, len(node.properties[name])))
    fdt.pack()
    return bytes(fdt.as_bytearray())


def has_seeds(dtb: bytes) -> bool:
    """Whether /chosen has a seed that is made anew."""
    node = tree_of(check_dtb(dtb)).root.child("chosen")
    return node is not None and any(name in node.properties for name in SEEDS)


@lru_cache(maxsize=TREES)
def with_chosen(
    dtb: bytes,
    *,
    cmdline: str | None = None,
    initrd: tuple[int, int] | None = None,
    crash: CrashMemory | None = None,
) -> bytes:
    """A copy of ``dtb`` whose /chosen says what kexec says: command line, initrd, crash memory.

    ``initrd`` is (first PA, first PA after it). A command line of None keeps the tree's own, an
    empty one removes it; no initrd removes what the tree said of one. What is named of memory
    is reserved. Same input, same bytes. Raises FormatError for an unsound tree, MachineError for a
    command line that the kernel would cut or a tree that grows past 2 MiB.
    """
    bootargs = _bootargs(cmdline or "")
    blob = check_dtb(dtb)
    import libfdt

    fdt = libfdt.Fdt(blob)
    # Room for a /chosen node, five properties and their names, and two reservations; pack() gives
    # back the rest.
    fdt.resize(len(blob) + len(bootargs) + 512)
    chosen = fdt.path_offset("/chosen", [libfdt.NOTFOUND])
    if chosen < 0:
        chosen = fdt.add_subnode(0, "chosen")
    values: dict[str, bytes | None] = {INITRD_START: None, INITRD_END: None}
    if cmdline is not None:
        values["bootargs"] = bootargs or None
    if initrd is not None:
        start, end = initrd
        if not 0 <= start < end < 1 << 64:
            raise MachineError(f"no initrd from {start:#x} to {end:#x}")
        values[INITRD_START] = quads(start)
        values[INITRD_END] = quads(end)
    if crash is not None:
        root = tree_of(blob).root
        values[CORE_HEADER] = root_range(root, crash.core)
        values[USABLE_RANGE] = root_range(root, crash.usable)
    for name, value in values.items():
        if value is None:
            fdt.delprop(chosen, name, [libfdt.NOTFOUND])
        else:
            fdt.setprop(chosen, name, value)
    _reserve(fdt, initrd, crash)
    fdt.pack()
    result = bytes(fdt.as_bytearray())
    if len(result) > MAX_DTB:
        raise MachineError(
            f"the device tree grows to {len(result)} bytes with its /chosen, "
            f"but a kernel accepts {MAX_DTB} at most",
            hint="give a smaller tree",
        )
    return result


def initrd_of(chosen: Node | None) -> Range | None:
    """The initrd that /chosen names: PA and bytes."""
    if chosen is None:
        return None
    names = (INITRD_START, INITRD_END)
    start, end = (int.from_bytes(chosen.properties.get(name, b"")[:8], "big") for name in names)
    return (start, end - start) if 0 < start < end else None


def _ranges(root: Node, chosen: Node, name: str) -> list[Range]:
    try:
        return ranges_in(chosen, root, name)
    except FormatError:
        # It goes, whatever it says.
        return []


def _renewed(name: str, seed: int, size: int) -> bytes:
    """``size`` bytes that look like chance, and are the same for the same name and seed."""
    blocks = (
        blake2b(f"{name} {seed} {index}".encode()).digest() for index in range(-(-size // 64))
    )
    return b"".join(blocks)[:size]


def _reserve(fdt: Any, initrd: tuple[int, int] | None, crash: CrashMemory | None) -> None:
    import libfdt

    if initrd is not None:
        libfdt.fdt_add_mem_rsv(fdt._fdt, initrd[0], initrd[1] - initrd[0])
    if crash is not None:
        libfdt.fdt_add_mem_rsv(fdt._fdt, *crash.core)


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
