"""What the kernel that leaves was told of memory: the device tree that it was booted with."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.codegen.base.errors import FormatError, MachineError
from relokit.runtime.arch.walker import walk
from relokit.runtime.board.chosen import without_old
from relokit.runtime.board.devicetree import check_dtb, reserved_of
from relokit.runtime.board.fdt import HEADER, MAGIC, MAX_DTB
from relokit.runtime.found.living_state import LivingKernel, State
from relokit.runtime.guest.around import HeldMemory
from relokit.runtime.guest.memory import WORD, GuestMemory

POINTER = "initial_boot_params"
"""The kernel's variable with the tree's VA; some kernels do not tell its name."""
LARGEST_PAGE = 1 << 16


def old_tree(state: State, kernel: LivingKernel, named: int | None) -> int | None:
    """PA of the tree: as ``named``, or by the kernel's own variable; None if nobody says.

    Raises MachineError if it is named, and is none.
    """
    memory = state.memory
    if named is not None:
        if tree_at(memory, named) is None:
            raise MachineError(
                f"no device tree is at PA {named:#x}",
                hint="'tree' in snapshot.json is what the kernel was booted with in x0",
            )
        return named
    if POINTER not in kernel.symbols:
        return None
    place = kernel.place(POINTER)
    if not memory.contains(place, WORD):
        return None
    va = memory.read_u64(place)
    pa = walk(memory, state.translation, va, el=state.el).pa if va else None
    return pa if pa is not None and tree_at(memory, pa) is not None else None


def tree_at(memory: GuestMemory, pa: int) -> bytes | None:
    """The tree at PA ``pa``, None if there is none that is sound."""
    if pa % 8 or not memory.contains(pa, HEADER.size):
        return None
    magic, size, *_ = HEADER.unpack(memory.read(pa, HEADER.size))
    if magic != MAGIC or size > MAX_DTB or not memory.contains(pa, size):
        return None
    try:
        return check_dtb(memory.read(pa, size))
    except FormatError:
        return None


def reserved(tree: bytes, pa: int) -> Iterator[HeldMemory]:
    """What ``tree``, at PA ``pa``, reserves: not what only the kernel that leaves had needed, its
    initrd and the tree itself.
    """
    for base, size in reserved_of(without_old(tree)):
        if not (base <= pa < base + size <= pa + MAX_DTB + LARGEST_PAGE):
            yield HeldMemory("what the old kernel's device tree reserves", base, size)
