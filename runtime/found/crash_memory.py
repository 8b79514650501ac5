"""What a kernel has set aside for a crash kernel: the resource that it has in /proc/iomem."""

from __future__ import annotations

import numpy as np

from relokit.codegen.base.errors import MachineError
from relokit.runtime.board.fdt import Range
from relokit.runtime.found.living_state import LivingKernel
from relokit.runtime.guest.memory import WORD, GuestMemory

NAME = b"\0Crash kernel\0"
"""Between zeros, as a string of C's; struct resource has start, end and name, each 64 bits."""
MAX_NAMES = 16
NAME_WORD = 2


def crash_memory(memory: GuestMemory, kernel: LivingKernel, start: int) -> Range:
    """The memory, PA and bytes, in which PA ``start``, where the crash kernel is entered, lies.

    Many kernels do not tell the name of crashk_res: it is found by what it is called. Raises
    MachineError if there is none.
    """
    image = bytes(kernel.file.image)
    size = kernel.file.header.image_size // WORD * WORD
    words = memory.u64(kernel.pa, size // WORD)
    at = -1
    for _ in range(MAX_NAMES):
        at = image.find(NAME, at + 1)
        if at < 0:
            break
        for slot in np.flatnonzero(words == np.uint64(kernel.va + at + 1)).tolist():
            if slot >= NAME_WORD:
                first, last = (int(one) for one in words[slot - NAME_WORD : slot])
                if first <= start <= last and memory.contains(first, last + 1 - first):
                    return first, last + 1 - first
    raise MachineError(
        f"no memory of a crash kernel has PA {start:#x}, where one is to be entered",
        where=kernel.file.name,
    )
