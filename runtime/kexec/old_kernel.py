"""The kernel that is left: its image in RAM, its page tables, its system registers."""

from __future__ import annotations

from relokit.codegen import facts
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Regime, Target
from relokit.linker.image import Image
from relokit.runtime.arch import descriptors, geometry
from relokit.runtime.arch.translation import SCTLR_M, to_ttbr
from relokit.runtime.guest.ledger import PageAllocator, Region
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.kexec import trans_pgd
from relokit.runtime.kexec.address_space import kernel_tcr, kernel_ttbr1, output_format
from relokit.runtime.kexec.guest_ram import GuestRam
from relokit.runtime.kexec.pagetables import PageTables, map_image, map_linear

# SCTLR_EL1 of a running kernel: M, C, SA, SA0, I over the MMU-off value (DDI 0487, SCTLR_EL1).
SCTLR_MMU_ON = facts.SCTLR_EL1_MMU_OFF | SCTLR_M | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12


@dataclass(frozen=True, slots=True)
class CpuState:
    """Registers at the start: ``sysregs`` by architectural name, ``x`` from x0 up.

    ``pstate`` is None where nothing is masked yet: that is the old kernel's next step.
    """

    el: int
    pc: int
    x: tuple[int, ...]
    sysregs: tuple[tuple[str, int], ...]
    pstate: int | None = None


@dataclass(frozen=True, slots=True)
class OldKernel:
    """``image``, whose first byte is at VA ``va``, at ``region``, mapped by the tables at PA
    ``swapper``.

    ``zero_page`` is the PA of the empty table, ``linear_offset`` is VA minus PA in the linear
    map.
    """

    target: Target
    image: Image
    va: int
    region: Region
    memory: GuestMemory
    allocator: PageAllocator
    swapper: int
    zero_page: int
    linear_offset: int

    @property
    def el(self) -> int:
        """The exception level it runs at."""
        return 2 if self.target.regime is Regime.VHE else 1

    @property
    def stub_vectors(self) -> int:
        """PA of its hyp-stub's vectors."""
        return self.pa("__hyp_stub_vectors")

    def pa(self, symbol: str) -> int:
        """PA of one of its symbols."""
        return self.image.symbol(symbol) - self.va + self.region.base

    def locate(self, pc: int) -> tuple[Image, int] | None:
        """The image and VA of its code at ``pc``, which is a VA or, with the MMU off, a PA."""
        for va in (pc, pc - self.region.base + self.va):
            if self.image.section_at(va):
                return self.image, va
        return None

    def state(self, entry: str, arguments: tuple[int, ...]) -> CpuState:
        """The CPU as it calls its routine ``entry``: MMU on, nothing mapped by TTBR0."""
        return CpuState(self.el, self.image.symbol(entry), arguments, self._sysregs())

    def _sysregs(self) -> tuple[tuple[str, int], ...]:
        target = self.target
        tcr = kernel_tcr(target, self.memory.end)
        own = (
            (f"MAIR_EL{self.el}", descriptors.MAIR),
            (f"TCR_EL{self.el}", tcr),
            (f"TTBR0_EL{self.el}", to_ttbr(self.zero_page, target.pa_bits)),
            (f"TTBR1_EL{self.el}", kernel_ttbr1(target, self.swapper)),
            (f"SCTLR_EL{self.el}", SCTLR_MMU_ON),
            (f"VBAR_EL{self.el}", self.image.symbol("vectors")),
        )
        match target.regime:
            case Regime.EL1:
                return own
            case Regime.NVHE:
                stub = ("VBAR_EL2", self.stub_vectors)
                off = ("SCTLR_EL2", facts.SCTLR_EL2_MMU_OFF)
                # The stub has no stack; what firmware left there is no zero.
                stack = ("SP_EL2", facts.POISON)
                return ("HCR_EL2", facts.HCR_EL2_NVHE), stub, off, stack, *own
            case Regime.VHE:
                return ("HCR_EL2", facts.HCR_EL2_VHE), *own


def load_old_kernel(
    target: Target, image: Image, region: Region, allocator: PageAllocator, ram: GuestRam
) -> OldKernel:
    """Put ``image`` at ``region`` and build its tables: the linear map and its own mapping.

    Fixed places (the region, destinations) are reserved in ``allocator`` already, which hands out
    what of ``ram`` is left.
    """
    memory = allocator.memory
    memory.write(region.base, image.flat)
    tables = page_tables(target, image, region, allocator, ram, OwnerKind.SWAPPER)
    return OldKernel(
        target=target,
        image=image,
        va=target.kimage_vaddr,
        region=region,
        memory=memory,
        allocator=allocator,
        swapper=tables,
        zero_page=trans_pgd.zero_page(allocator),
        linear_offset=target.linear_start - ram.memstart,
    )


def page_tables(
    target: Target,
    image: Image,
    region: Region,
    allocator: PageAllocator,
    ram: GuestRam,
    kind: OwnerKind,
) -> int:
    """PA of a kernel's tables for TTBR1: all RAM that may be mapped, and its image.

    Its text is read-only in the former.
    """
    tables = PageTables(
        allocator.memory,
        allocator,
        geometry.granule_of(target.page_size),
        target.table_va_bits,
        upper=True,
        owner=Owner(kind),
        output=output_format(target),
    )
    text = (region.base, region.size)
    map_linear(
        tables,
        target.linear_start,
        target.page_end,
        ram.memstart,
        read_only=(text,),
        unmapped=ram.unmapped,
    )
    map_image(tables, image, region.base)
    return tables.root
