"""struct kimage layouts of shipped kernels, read from their BTF (byte offsets).

They depend on version and configuration; a target names the one its code is generated for.
"""

from __future__ import annotations

from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class KimageLayout:
    """Offsets in bytes into struct kimage; ``arch_*`` are absolute, not relative to ``arch``.

    ``arch`` is None where the configuration has no struct kimage_arch.
    """

    name: str
    size: int
    head: int
    entry: int
    last_entry: int
    start: int
    control_code_page: int
    nr_segments: int
    segment: int
    flags: int
    arch: int | None

    def _arch(self, offset: int) -> int:
        if self.arch is None:
            raise TargetError(
                f"kimage layout {self.name} has no struct kimage_arch",
                hint="choose a layout that has one, for example 6.1",
            )
        return self.arch + offset

    # The inner layout of kimage_arch is the same in every kernel since the series.
    @property
    def dtb_mem(self) -> int:
        """kimage.arch.dtb_mem: PA of the device tree."""
        return self._arch(0x08)

    @property
    def kern_reloc(self) -> int:
        """kimage.arch.kern_reloc: PA of the relocation code's copy."""
        return self._arch(0x10)

    @property
    def el2_vectors(self) -> int:
        """kimage.arch.el2_vectors: PA of the copied vectors, or 0."""
        return self._arch(0x18)

    @property
    def ttbr0(self) -> int:
        """kimage.arch.ttbr0: value for TTBR0_EL1, the idmap of the control page."""
        return self._arch(0x20)

    @property
    def ttbr1(self) -> int:
        """kimage.arch.ttbr1: PA of the copied linear map's top table."""
        return self._arch(0x28)

    @property
    def zero_page(self) -> int:
        """kimage.arch.zero_page: PA of the empty table used between two TTBR1 values."""
        return self._arch(0x30)

    @property
    def phys_offset(self) -> int:
        """kimage.arch.phys_offset: PA minus VA of the linear map, modulo 2^64."""
        return self._arch(0x38)

    @property
    def t0sz(self) -> int:
        """kimage.arch.t0sz: TCR_EL1.T0SZ for the idmap."""
        return self._arch(0x40)

    @property
    def offsets(self) -> frozenset[int]:
        """Where code can find something that it wants: of every member that is known here."""
        own = (
            self.head, self.entry, self.last_entry, self.start, self.control_code_page,
            self.nr_segments, self.segment, self.flags,
        )  # fmt: skip
        arch = range(0x08, 0x48, 8) if self.arch is not None else ()
        return frozenset((*own, *(self._arch(offset) for offset in arch)))


def _layout(name: str, size: int, flags: int, arch: int | None) -> KimageLayout:
    return KimageLayout(
        name=name,
        size=size,
        head=0x00,
        entry=0x08,
        last_entry=0x10,
        start=0x18,
        control_code_page=0x20,
        nr_segments=0x38,
        segment=0x40,
        flags=flags,
        arch=arch,
    )


LAYOUTS: dict[str, KimageLayout] = {
    layout.name: layout
    for layout in (
        _layout("5.10", 0x280, 0x278, None),
        _layout("6.1", 0x2E0, 0x278, 0x280),
        _layout("6.12", 0x2E0, 0x278, 0x280),
        _layout("7.2", 0x380, 0x2F8, 0x300),
    )
}


def layout_named(name: str) -> KimageLayout:
    """Return the layout of a kernel version; raises TargetError naming the known ones."""
    try:
        return LAYOUTS[name]
    except KeyError:
        known = ", ".join(LAYOUTS)
        raise TargetError(f"no kimage layout for kernel {name!r}", hint=f"known: {known}") from None
