"""Translation granules and the TCR fields that choose them.

Source of every number: ARM DDI 0487, D8.2 (translation process: granules, levels, block
sizes) and D23 (TCR_EL1, TCR_EL2). 52-bit addresses are FEAT_LVA and FEAT_LPA with 64 KiB pages,
FEAT_LPA2 with the others.
"""

from __future__ import annotations

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass

LEAF_LEVEL = 3
ENTRY_SIZE = 8
MIN_TXSZ = 16  # 48-bit VA
WIDE_MIN_TXSZ = 12  # 52-bit VA
MAX_TXSZ = 39  # 25-bit VA, without FEAT_TTST


@dataclass(frozen=True, slots=True)
class Granule:
    """One translation granule.

    ``block_levels`` are the levels that may hold blocks; with 52-bit output addresses
    ``wide_block_level`` may, too. ``has_ds`` tells whether those take TCR.DS.
    """

    page_size: int
    tg0: int
    tg1: int
    block_levels: tuple[int, ...]
    wide_block_level: int
    has_ds: bool

    @property
    def page_shift(self) -> int:
        """log2 of the page size."""
        return self.page_size.bit_length() - 1

    @property
    def index_bits(self) -> int:
        """VA bits that one full table resolves: a table is one page of 8-byte entries."""
        return self.page_size.bit_length() - 4

    @property
    def entries(self) -> int:
        """Entries of a full table."""
        return self.page_size // ENTRY_SIZE

    def shift(self, level: int) -> int:
        """log2 of the bytes one entry of ``level`` maps."""
        page = self.page_size.bit_length() - 1
        return page + (LEAF_LEVEL - level) * (page - 3)

    def span(self, level: int) -> int:
        """Bytes one entry of ``level`` maps."""
        return 1 << self.shift(level)

    def start_level(self, va_bits: int) -> int:
        """Level of the table TTBR points to, for a range of ``va_bits``."""
        levels = -(-(va_bits - self.page_shift) // self.index_bits)
        return LEAF_LEVEL + 1 - levels

    def root_entries(self, va_bits: int) -> int:
        """Entries of the table TTBR points to; fewer than :attr:`entries` is common."""
        return 1 << (va_bits - self.shift(self.start_level(va_bits)))


GRANULES: dict[int, Granule] = {
    granule.page_size: granule
    for granule in (
        Granule(4096, 0b00, 0b10, block_levels=(1, 2), wide_block_level=0, has_ds=True),
        Granule(16384, 0b10, 0b01, block_levels=(2,), wide_block_level=1, has_ds=True),
        Granule(65536, 0b01, 0b11, block_levels=(2,), wide_block_level=1, has_ds=False),
    )
}


def granule_of(page_size: int) -> Granule:
    """The granule with pages of ``page_size`` bytes; raises MachineError if there is none."""
    try:
        return GRANULES[page_size]
    except KeyError:
        raise MachineError(
            f"no translation granule of {page_size} bytes", hint="4096, 16384 and 65536 exist"
        ) from None


# TG0/TG1 values as the hardware reads them. The reserved one is read as 4 KiB, like the engine.
TG0_GRANULES = {granule.tg0: granule for granule in GRANULES.values()} | {0b11: GRANULES[4096]}
TG1_GRANULES = {granule.tg1: granule for granule in GRANULES.values()} | {0b00: GRANULES[4096]}

# IPS/PS encodings to physical address bits.
PA_BITS: dict[int, int] = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52}
A72_PA_BITS = 44  # a Cortex-A72's, and a CPU's from which nobody asks more
CPU_BITS = 48  # the widest addresses of a CPU that has none of LVA, LPA and LPA2

# Bit positions in TCR_EL1, and in TCR_EL2 when HCR_EL2.E2H is 1.
T0SZ_MASK = 0x3F
T0SZ, EPD0, IRGN0, ORGN0, SH0, TG0 = 0, 7, 8, 10, 12, 14
T1SZ, EPD1, IRGN1, ORGN1, SH1, TG1 = 16, 23, 24, 26, 28, 30
IPS, TBI0, TBI1, HPD0, HPD1, DS = 32, 37, 38, 41, 42, 59

# Bit positions in TCR_EL2 when HCR_EL2.E2H is 0; T0SZ to TG0 are where TCR_EL1 has them.
EL2_PS, EL2_TBI, EL2_HPD, EL2_DS = 16, 20, 24, 32
EL2_RES1 = 1 << 31 | 1 << 23

WRITE_BACK = 0b01  # IRGN/ORGN: write-back, read- and write-allocate
INNER_SHAREABLE = 0b11


def txsz(va_bits: int) -> int:
    """T0SZ or T1SZ for a range of ``va_bits``; raises MachineError outside 25..52."""
    value = 64 - va_bits
    if not WIDE_MIN_TXSZ <= value <= MAX_TXSZ:
        raise MachineError(
            f"no translation range of {va_bits} bits",
            hint=f"{64 - MAX_TXSZ} to {64 - WIDE_MIN_TXSZ} bits exist",
        )
    return value


def ips(pa_bits: int) -> int:
    """The IPS/PS encoding of ``pa_bits``; raises MachineError for sizes without one."""
    for encoding, bits in PA_BITS.items():
        if bits == pa_bits:
            return encoding
    sizes = ", ".join(str(bits) for bits in PA_BITS.values())
    raise MachineError(f"no physical address size of {pa_bits} bits", hint=f"one of {sizes}")


def tcr_el1(granule: Granule, *, t0_bits: int, t1_bits: int, pa_bits: int, ds: bool = False) -> int:
    """TCR_EL1 for both ranges: ``granule``, cacheable inner-shareable walks, VA and PA sizes.

    ``ds`` chooses the LPA2 descriptor format.
    """
    return (
        txsz(t0_bits) << T0SZ
        | WRITE_BACK << IRGN0
        | WRITE_BACK << ORGN0
        | INNER_SHAREABLE << SH0
        | granule.tg0 << TG0
        | txsz(t1_bits) << T1SZ
        | WRITE_BACK << IRGN1
        | WRITE_BACK << ORGN1
        | INNER_SHAREABLE << SH1
        | granule.tg1 << TG1
        | ips(pa_bits) << IPS
        | ds << DS
    )


def tcr_el2(granule: Granule, *, va_bits: int, pa_bits: int) -> int:
    """TCR_EL2 with HCR_EL2.E2H = 0: one range from VA 0."""
    return (
        txsz(va_bits) << T0SZ
        | WRITE_BACK << IRGN0
        | WRITE_BACK << ORGN0
        | INNER_SHAREABLE << SH0
        | granule.tg0 << TG0
        | ips(pa_bits) << EL2_PS
        | EL2_RES1
    )
