"""Target: what to build for. Refuses, by name, what the architecture or the kernel cannot do."""

from __future__ import annotations

from enum import StrEnum

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.coercion import coerce_fields
from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kimage_layouts import LAYOUTS, KimageLayout, layout_named
from relokit.codegen.series import BEFORE, COMPLETE, Feature, parse_state

PAGE_SIZES = {"4k": 4096, "16k": 16384, "64k": 65536}

# CONFIG_ARM64_VA_BITS choices of arch/arm64/Kconfig for each granule.
VA_BITS: dict[int, tuple[int, ...]] = {
    4096: (39, 48, 52),
    16384: (36, 47, 48, 52),
    65536: (42, 48, 52),
}
NARROW, WIDE = 48, 52
"""Bits of an address without and with FEAT_LVA, FEAT_LPA and FEAT_LPA2."""
# A kernel built for 52-bit VAs falls back to this many on a CPU without them (VA_BITS_MIN): with
# 16 KiB pages 48 bits would need a table level for a single bit.
VA_BITS_MIN = {4096: 48, 16384: 47, 65536: 48}

MIB = 1 << 20


class Regime(StrEnum):
    """At which exception level the old kernel was entered and runs."""

    EL1 = "el1"
    NVHE = "nvhe"
    VHE = "vhe"


@dataclass(frozen=True, slots=True)
class Target:
    """What code, placement, tables and run are for. Sizes in bytes.

    State, page size, regime and layout may be spelled as on the command line. ``va_bits`` and
    ``pa_bits`` are what the kernel is built for; 0 PA bits are those that go with the VA bits.
    ``cpu_bits``, 48 or 52, are the widest addresses the CPU has; 0 is as many as the kernel. Raises
    TargetError for what does not exist.

    >>> Target(series="before", page_size="16k", regime="vhe").name
    'series:0,page=16k,va=48,el=vhe'
    """

    series: int = COMPLETE
    page_size: int = 4096
    va_bits: int = 48
    pa_bits: int = 0
    cpu_bits: int = 0
    regime: Regime = Regime.NVHE
    cache_line: int = 64
    layout: KimageLayout = LAYOUTS["6.1"]

    def __post_init__(self) -> None:
        coerce_fields(self, TargetError, SPELLINGS)
        if not BEFORE <= self.series <= COMPLETE:
            raise TargetError(
                f"no state {self.series} of the series", hint=f"0 to {COMPLETE} exist"
            )
        if self.page_size not in VA_BITS:
            raise TargetError(
                f"no {self.page_size}-byte pages on arm64", hint="choose 4k, 16k or 64k"
            )
        if self.va_bits not in VA_BITS[self.page_size]:
            legal = ", ".join(str(bits) for bits in VA_BITS[self.page_size])
            raise TargetError(
                f"no {self.va_bits}-bit VA with {self.page_size // 1024}k pages",
                hint=f"the kernel offers {legal}",
            )
        self._settle_sizes()
        line = self.cache_line
        if line not in (16, 32, 64, 128, 256, 512, 1024, 2048):
            raise TargetError(
                f"no {line}-byte cache line", hint="CTR_EL0 allows powers of two, 16 to 2048"
            )

    def _settle_sizes(self) -> None:
        """Replace zeros by what they stand for, and refuse what is no choice of Kconfig's."""
        matching = self._matching_pa_bits
        if self.pa_bits == 0:
            object.__setattr__(self, "pa_bits", matching)
        if self.pa_bits not in (NARROW, WIDE):
            raise TargetError(f"no {self.pa_bits}-bit PA", hint="the kernel offers 48 and 52")
        # With LPA2, VA and PA come together; LVA and LPA are apart.
        if self.page_size != 65536 and self.pa_bits != matching:
            raise TargetError(
                f"no {self.pa_bits}-bit PA with {self.va_bits}-bit VA and {self.page_name} pages",
                hint=f"{matching} goes with it; 64k pages have both",
            )
        if self.cpu_bits == 0:
            object.__setattr__(self, "cpu_bits", self._matching_cpu_bits)
        if self.cpu_bits not in (NARROW, WIDE):
            raise TargetError(f"no CPU with {self.cpu_bits}-bit addresses", hint="choose 48 or 52")

    def has(self, feature: Feature) -> bool:
        """Whether the patch that brings ``feature`` is applied in this state."""
        return feature.value <= self.series

    @property
    def page_shift(self) -> int:
        """log2 of the page size."""
        return self.page_size.bit_length() - 1

    @property
    def page_name(self) -> str:
        """``4k``, ``16k`` or ``64k``."""
        return f"{self.page_size // 1024}k"

    @property
    def pa_bits_at_run(self) -> int:
        """PA bits of the running kernel: fewer on a CPU without LPA or LPA2."""
        return min(self.pa_bits, self.cpu_bits)

    @property
    def va_bits_at_run(self) -> int:
        """VA bits of the running kernel (vabits_actual): fewer on a CPU without LVA or LPA2."""
        return self.va_bits if self.cpu_bits == WIDE else self._va_bits_min

    @property
    def table_va_bits(self) -> int:
        """VA bits that the tables of TTBR1 are laid out for.

        With 64 KiB pages the first table is that of 52 bits on any CPU, and TTBR1 points into it.
        """
        return self.va_bits if self.page_size == 65536 else self.va_bits_at_run

    @property
    def ttbr1_offset(self) -> int:
        """Bytes from a table of 52 bits to the part that serves 48: the last 64 of 1024 entries.

        0 where a 52-bit kernel has no such table.
        """
        return (1024 - 64) * 8 if self.page_size == 65536 and self.va_bits == WIDE else 0

    @property
    def lpa2(self) -> bool:
        """Whether tables are in the LPA2 format (TCR.DS is set)."""
        return self.pa_bits_at_run == WIDE and self.page_size != 65536

    @property
    def page_offset(self) -> int:
        """PAGE_OFFSET: first VA of the linear map, where the CPU has all VA bits."""
        return MASK64 + 1 - (1 << self.va_bits)

    @property
    def linear_start(self) -> int:
        """First VA of the linear map on this CPU: what the start of RAM is mapped at."""
        return MASK64 + 1 - (1 << self.va_bits_at_run)

    @property
    def page_end(self) -> int:
        """PAGE_END: first VA after the linear map, the same on every CPU."""
        return MASK64 + 1 - (1 << (self._va_bits_min - 1))

    @property
    def _matching_pa_bits(self) -> int:
        return WIDE if self.va_bits == WIDE else NARROW

    @property
    def _matching_cpu_bits(self) -> int:
        return max(self._matching_pa_bits, self.pa_bits)

    @property
    def _va_bits_min(self) -> int:
        return min(self.va_bits, VA_BITS_MIN[self.page_size] if self.va_bits == WIDE else NARROW)

    @property
    def kimage_vaddr(self) -> int:
        """KIMAGE_VADDR: where the old kernel is linked, past the 128 MiB of modules."""
        return self.page_end + 128 * MIB

    @property
    def name(self) -> str:
        """Short text for messages: ``series:15,page=4k,va=48,el=nvhe``.

        PA and CPU bits are in it only where they are not those that go with the VA bits.
        """
        cpu = f",cpu={self.cpu_bits}" if self.cpu_bits != self._matching_cpu_bits else ""
        return self.kernel_name + cpu

    @property
    def kernel_name(self) -> str:
        """:attr:`name` without the CPU: code does not depend on which it will run on."""
        pa = f",pa={self.pa_bits}" if self.pa_bits != self._matching_pa_bits else ""
        return f"series:{self.series},page={self.page_name},va={self.va_bits}{pa},el={self.regime}"


def parse_page_size(text: str) -> int:
    """Return the bytes of ``4k``, ``16k`` or ``64k``."""
    try:
        return PAGE_SIZES[text.lower()]
    except KeyError:
        raise TargetError(f"no {text!r} page size on arm64", hint="choose 4k, 16k or 64k") from None


SPELLINGS = {"series": parse_state, "page_size": parse_page_size, "layout": layout_named}
"""Fields of a Target that have names of their own."""
