"""Translation regimes: which registers a walk reads, and what TCR says of each VA range.

Source: ARM DDI 0487, D8.1 (translation regimes), D23 (SCTLR, TCR, TTBR). A TxSZ out of bounds is
clamped, as the engine does.
"""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch import geometry as g
from relokit.runtime.arch.geometry import ENTRY_SIZE, Granule

SCTLR_M = 1 << 0
SCTLR_WXN = 1 << 19
SCTLR_EE = 1 << 25
SCTLR_NMI = 1 << 61
"""With it, DAIF masks no interrupt of superpriority: PSTATE.ALLINT does (FEAT_NMI)."""
TTBR_BADDR = (1 << 48) - (1 << 1)
TTBR_WIDE_BADDR = (1 << 48) - (1 << 6)
TTBR_HIGH_SHIFT = 46  # with 52-bit output addresses, BADDR[51:48] are in bits 5:2
TTBR_HIGH = 0xF << 48


def to_ttbr(pa: int, pa_bits: int) -> int:
    """What a TTBR holds for tables at PA ``pa``, where addresses have ``pa_bits`` bits."""
    return pa if pa_bits <= g.CPU_BITS else pa & ~TTBR_HIGH | (pa & TTBR_HIGH) >> TTBR_HIGH_SHIFT


def root_size(granule: Granule, va_bits: int) -> int:
    """Bytes of the first table for addresses of ``va_bits`` bits, and so its alignment."""
    return max(64, granule.root_entries(va_bits) * ENTRY_SIZE)


def unaligned_bits(ttbr: int, size: int, *, folded: bool) -> int:
    """Bits of ``ttbr`` that the address of a table of ``size`` bytes has not.

    ``folded`` says that bits 5:2 are BADDR[51:48]. What is set there may be taken for zero, or for
    part of the addresses of a walk (ARM DDI 0487, TTBR0_EL1.BADDR: CONSTRAINED UNPREDICTABLE).
    """
    of_other_use = 0x3D if folded else 1  # CnP is bit 0; bit 1 is RES0 in both
    return ttbr & (size - 1) & ~of_other_use


@dataclass(frozen=True, slots=True)
class WalkRegisters:
    """The registers of one translation regime, by value.

    At EL1 the _EL1 registers; at EL2 the _EL2 ones, ``e2h`` being HCR_EL2.E2H. ``ttbr1`` is not
    read at EL2 without E2H. ``cpu_bits`` are the widest addresses the CPU has: with 52 it has
    FEAT_LVA, FEAT_LPA and FEAT_LPA2.
    """

    sctlr: int
    tcr: int
    ttbr0: int
    ttbr1: int = 0
    mair: int = d.MAIR
    e2h: bool = False
    cpu_bits: int = g.CPU_BITS


@dataclass(frozen=True, slots=True)
class TableRange:
    """One range of a regime: where its tables start and how they are read."""

    root: int
    va_bits: int
    granule: Granule
    enabled: bool
    ignored_top: int  # VA bits that take no part: 8 with TBI
    upper: bool
    hierarchical: bool
    pa_bits: int
    output: d.AddressFormat

    @property
    def start(self) -> int:
        """Level of the first table."""
        return self.granule.start_level(self.va_bits)

    @property
    def root_table(self) -> int:
        """PA of the first table: BADDR, aligned to the table's size.

        Its bits 51:48 are in bits 5:2 with DS, or with 64 KiB pages and 52-bit output (ARM DDI
        0487, TTBR0_EL1.BADDR).
        """
        size = root_size(self.granule, self.va_bits)
        base = self.root & TTBR_BADDR
        if self.output is d.LPA2 or self.pa_bits > g.CPU_BITS:
            base = self.root & TTBR_WIDE_BADDR | self.root << TTBR_HIGH_SHIFT & TTBR_HIGH
        return base & ~(size - 1)

    @property
    def block_levels(self) -> tuple[int, ...]:
        """Levels that may hold blocks."""
        granule = self.granule
        wide = self.output is not d.PLAIN
        return ((granule.wide_block_level,) if wide else ()) + granule.block_levels

    @property
    def above(self) -> tuple[int, int]:
        """Mask of the VA bits above the range, and the value they must have."""
        mask = ((1 << (64 - self.ignored_top)) - 1) & ~((1 << self.va_bits) - 1)
        return mask, mask if self.upper else 0


def table_range(regs: WalkRegisters, el: int, upper: bool) -> TableRange:
    """How level ``el`` reads addresses of the upper (TTBR1) or lower range under ``regs``."""
    tcr = regs.tcr
    wide_cpu = regs.cpu_bits > g.CPU_BITS

    def bit(position: int) -> bool:
        return bool(tcr >> position & 1)

    single = not two_ranges(regs, el)
    if upper and not single:
        granule = g.TG1_GRANULES[tcr >> g.TG1 & 0b11]
    else:
        granule = g.TG0_GRANULES[tcr >> g.TG0 & 0b11]
    wide = wide_cpu and (not granule.has_ds or bit(g.EL2_DS if single else g.DS))
    size = tcr >> (g.T1SZ if upper and not single else g.T0SZ) & 0x3F
    va_bits = 64 - min(max(size, g.WIDE_MIN_TXSZ if wide else g.MIN_TXSZ), g.MAX_TXSZ)
    widest = regs.cpu_bits if wide else min(regs.cpu_bits, g.CPU_BITS)
    pa_bits = min(g.PA_BITS.get(tcr >> (g.EL2_PS if single else g.IPS) & 0b111, widest), widest)
    output = (d.LPA2 if granule.has_ds else d.LPA) if wide else d.PLAIN
    if single:
        return TableRange(
            root=regs.ttbr0,
            va_bits=va_bits,
            granule=granule,
            enabled=True,
            ignored_top=8 if bit(g.EL2_TBI) else 0,
            upper=False,
            hierarchical=not bit(g.EL2_HPD),
            pa_bits=pa_bits,
            output=output,
        )
    return TableRange(
        root=regs.ttbr1 if upper else regs.ttbr0,
        va_bits=va_bits,
        granule=granule,
        enabled=not bit(g.EPD1 if upper else g.EPD0),
        ignored_top=8 if bit(g.TBI1 if upper else g.TBI0) else 0,
        upper=upper,
        hierarchical=not bit(g.HPD1 if upper else g.HPD0),
        pa_bits=pa_bits,
        output=output,
    )


def two_ranges(regs: WalkRegisters, el: int) -> bool:
    """Whether VA bit 55 chooses between TTBR0 and TTBR1 at ``el``: EL1&0 and EL2&0."""
    return el == 1 or regs.e2h
