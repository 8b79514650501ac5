"""Target: what to build for. Refuses, by name, what the architecture or the engine cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from relokit.codegen.base.coercion import coerce_fields
from relokit.codegen.base.errors import TargetError
from relokit.codegen.kimage_layouts import LAYOUTS, KimageLayout, layout_named
from relokit.codegen.series import BEFORE, COMPLETE, Feature, parse_state

PAGE_SIZES = {"4k": 4096, "16k": 16384, "64k": 65536}

# CONFIG_ARM64_VA_BITS choices of arch/arm64/Kconfig for each granule, without LPA2/LVA.
VA_BITS: dict[int, tuple[int, ...]] = {4096: (39, 48), 16384: (36, 47, 48), 65536: (42, 48)}

MASK64 = (1 << 64) - 1
MIB = 1 << 20


class Regime(StrEnum):
    """At which exception level the old kernel was entered and runs."""

    EL1 = "el1"
    NVHE = "nvhe"
    VHE = "vhe"


@dataclass(frozen=True, slots=True)
class Target:
    """What code, placement, tables and run are for. Sizes in bytes.

    State, page size, regime and layout may be spelled as on the command line. Raises TargetError
    for what does not exist.

    >>> Target(series="before", page_size="16k", regime="vhe").name
    'series:0,page=16k,va=48,el=vhe'
    """

    series: int = COMPLETE
    page_size: int = 4096
    va_bits: int = 48
    pa_bits: int = 48
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
        if self.va_bits == 52 or self.pa_bits == 52:
            raise TargetError(
                "52-bit addresses are unsupported: the engine (Unicorn 2.1) has neither LVA nor "
                "LPA2",
                hint="choose 48-bit VA and PA",
            )
        if self.va_bits not in VA_BITS[self.page_size]:
            legal = ", ".join(str(bits) for bits in VA_BITS[self.page_size])
            raise TargetError(
                f"no {self.va_bits}-bit VA with {self.page_size // 1024}k pages",
                hint=f"the kernel offers {legal}",
            )
        if self.pa_bits != 48:
            raise TargetError(f"no {self.pa_bits}-bit PA", hint="48 is what the kernel offers")
        line = self.cache_line
        if line not in (16, 32, 64, 128, 256, 512, 1024, 2048):
            raise TargetError(
                f"no {line}-byte cache line", hint="CTR_EL0 allows powers of two, 16 to 2048"
            )

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
    def page_offset(self) -> int:
        """PAGE_OFFSET: first VA of the linear map."""
        return MASK64 + 1 - (1 << self.va_bits)

    @property
    def page_end(self) -> int:
        """PAGE_END: first VA after the linear map."""
        return MASK64 + 1 - (1 << (self.va_bits - 1))

    @property
    def kimage_vaddr(self) -> int:
        """KIMAGE_VADDR: where the old kernel is linked, past the 128 MiB of modules."""
        return self.page_end + 128 * MIB

    @property
    def name(self) -> str:
        """Short text for messages and the build note: ``series:15,page=4k,va=48,el=nvhe``."""
        return f"series:{self.series},page={self.page_name},va={self.va_bits},el={self.regime}"


def parse_page_size(text: str) -> int:
    """Return the bytes of ``4k``, ``16k`` or ``64k``."""
    try:
        return PAGE_SIZES[text.lower()]
    except KeyError:
        raise TargetError(f"no {text!r} page size on arm64", hint="choose 4k, 16k or 64k") from None


SPELLINGS = {"series": parse_state, "page_size": parse_page_size, "layout": layout_named}
"""Fields of a Target that have names of their own."""
