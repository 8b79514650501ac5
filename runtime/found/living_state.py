"""State: RAM, the registers of one CPU, and the kernel that runs on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import HCR_EL2_E2H
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.target import Regime
from relokit.linker.kernel.btf import read_structs
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.runtime.arch.translation import WalkRegisters
from relokit.runtime.arch.walker import walk
from relokit.runtime.guest.memory import GuestMemory

MAP_STEP = 1 << 16
"""The map of a section, which is what is mapped of it, is a multiple of this."""
MAX_MAP = 1 << 30


@dataclass(frozen=True)
class LivingKernel:
    """``file`` where it runs: its first byte is at PA ``pa`` and VA ``va`` (KASLR included)."""

    file: KernelFile
    symbols: Kallsyms
    layout: KimageLayout
    pa: int
    va: int

    @property
    def page_size(self) -> int:
        """Bytes."""
        size = self.file.header.page_size
        if size is None:
            raise MachineError("its header does not say its page size", where=str(self.file.path))
        return size

    def address(self, name: str) -> int:
        """VA of its symbol; raises MachineError without it."""
        if name not in self.symbols:
            raise MachineError(
                f"no symbol {name}",
                where=str(self.file.path),
                hint="it needs CONFIG_KEXEC and CONFIG_KALLSYMS",
            )
        return self.va + self.symbols.offset(name)

    def place(self, name: str) -> int:
        """PA of its symbol."""
        return self.address(name) - self.va + self.pa


@dataclass(frozen=True)
class State:
    """The CPU at VA ``pc``: ``x`` are x0 to x30, ``system`` registers by architectural name.

    ``regime`` is where the kernel runs, ``model`` the CPU as the engine calls it. Other CPUs, and
    what was done before, are not in it. ``pstate`` is None at a call of machine_kexec.
    """

    memory: GuestMemory
    regime: Regime
    model: str
    pc: int
    x: tuple[int, ...]
    system: Mapping[str, int]
    cpu_bits: int
    cache_line: int
    pstate: int | None = None

    @property
    def el(self) -> int:
        """The exception level that the kernel runs at."""
        return 2 if self.regime is Regime.VHE else 1

    @cached_property
    def translation(self) -> WalkRegisters:
        """What the kernel translates by."""
        el, own = self.el, self.system
        return WalkRegisters(
            sctlr=own[f"SCTLR_EL{el}"],
            tcr=own[f"TCR_EL{el}"],
            ttbr0=own[f"TTBR0_EL{el}"],
            ttbr1=own[f"TTBR1_EL{el}"],
            mair=own[f"MAIR_EL{el}"],
            e2h=el == 2 and bool(own["HCR_EL2"] & HCR_EL2_E2H),
            cpu_bits=self.cpu_bits,
        )

    def pa(self, va: int) -> int:
        """Where the kernel finds ``va``; raises MachineError if nothing is mapped there."""
        found = walk(self.memory, self.translation, va & MASK64, el=self.el).pa
        if found is None or not self.memory.contains(found):
            raise MachineError(f"VA {va:#x} is not mapped to RAM in this state")
        return found

    def is_mapped(self, va: int) -> bool:
        """Whether the kernel has RAM at ``va``."""
        found = walk(self.memory, self.translation, va & MASK64, el=self.el).pa
        return found is not None and self.memory.contains(found)


def page_of(state: State, kernel: LivingKernel, page: int) -> int:
    """PA of what the ``struct page`` at VA ``page`` is of.

    The map of all of them is mapped from the first page of RAM on (sparse memory with vmemmap, the
    only model of arm64 since 5.13, and every distribution's before). Raises MachineError where
    that leads to no page of RAM.
    """
    structs = read_structs(kernel.file.image, "page", where=str(kernel.file.path))
    if "page" not in structs:
        raise MachineError("BTF has no struct page", where=str(kernel.file.path))
    first = page & -MAP_STEP
    while state.is_mapped(first - MAP_STEP) and page - first < MAX_MAP:
        first -= MAP_STEP
    number, rest = divmod(page - first, structs["page"].size)
    pa = state.memory.base + number * kernel.page_size
    if rest or not state.memory.contains(pa, kernel.page_size):
        raise MachineError(f"no page of RAM belongs to the struct page at VA {page:#x}")
    return pa
