"""Where machine_kexec leaves its kernel: the branches it has, and which of them is the last."""

from __future__ import annotations

import numpy as np

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.opened import OpenedKernel

LEAVES = "machine_kexec"
VECTORS = "vectors"
MAX_BYTES = 1 << 14
MAX_BRANCHES = 16
# BR and BLR Xn (ARM DDI 0487, C6.2).
_BRANCHES = ((0xFFFFFC1F, 0xD61F0000), (0xFFFFFC1F, 0xD63F0000))
KERNEL_VA = 1 << 55
"""Set in what TTBR1 translates; where a kernel leaves to, it is not."""


@dataclass(frozen=True, slots=True)
class Branch:
    """At ``offset`` of the Image, to where X ``register`` points."""

    offset: int
    register: int


def branches_of(kernel: OpenedKernel) -> tuple[Branch, ...]:
    """The indirect branches of machine_kexec; raises MachineError if there are none."""
    symbols = kernel.symbols
    if LEAVES not in symbols or VECTORS not in symbols:
        raise MachineError(
            f"this kernel has no {LEAVES}: it cannot kexec",
            where=kernel.where,
            hint="give the one that is left, built with CONFIG_KEXEC",
        )
    start = symbols.offset(LEAVES)
    end = min(symbols.end(start), start + MAX_BYTES)
    words = np.frombuffer(kernel.file.image[start : end & -4], "<u4")
    found = tuple(
        Branch(start + 4 * int(at), int(words[at]) >> 5 & 31)
        for mask, value in _BRANCHES
        for at in np.flatnonzero(words & mask == value).tolist()
    )
    if not 0 < len(found) <= MAX_BRANCHES:
        raise MachineError(
            f"{len(found)} branches through a register in {LEAVES}: none of them is known as the "
            "last",
            where=kernel.where,
        )
    return found


def leaves(target: int) -> bool:
    """Whether a branch to VA ``target`` leaves the kernel's own addresses."""
    return not target & KERNEL_VA
