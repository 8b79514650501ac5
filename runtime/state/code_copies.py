"""Where a Machine's code is: at the addresses that it runs at, with its names and lines."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.codegen.object import Binding, SectionFlag, SourceLines, SymbolType
from relokit.linker.image import Image, ImageSymbol
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.machine import Machine


@dataclass(frozen=True, slots=True)
class PlacedCode:
    """``size`` bytes of ``image``, which has them at VA ``va``, are at ``at``: a VA or PA."""

    name: str
    image: Image
    va: int
    size: int
    at: int

    def symbols(self, section: int) -> Iterator[ImageSymbol]:
        """Its routines where they are, in the section of that number."""
        for one in self.image.symbols:
            inside = self.va <= one.value < self.va + self.size and one.section >= 0
            if inside and one.type is SymbolType.FUNC:
                at = one.value - self.va + self.at
                yield ImageSymbol(one.name, at, one.size, Binding.LOCAL, one.type, section)

    @property
    def lines(self) -> SourceLines:
        """Its source lines, by the offset in it."""
        section = self.image.section_at(self.va)
        assert section is not None
        return section.lines.within(self.va - section.va, self.size)


def code_in_ram(guest: Machine | Resume) -> Iterator[PlacedCode]:
    """By PA: the kernel that is left, what is copied to a safe page, the EL2 vectors."""
    old = guest.old
    for section in old.image.sections:
        if section.flags & SectionFlag.EXEC:
            at = section.va - old.va + old.region.base
            yield PlacedCode("old_kernel", old.image, section.va, section.size, at)
    if isinstance(guest, Resume):
        code, size = guest.jump, len(guest.exit_code)
    else:
        code, size = guest.kimage.control_page, len(guest.routines.relocation)
    yield from _copy(guest, "copied_code", code, size)
    for region in guest.allocator.regions:
        if region.owner.kind is OwnerKind.EL2_VECTORS:
            yield from _copy(guest, "el2_vectors", region.base, VECTOR_TABLE_SIZE)


def _copy(guest: Machine | Resume, name: str, pa: int, size: int) -> Iterator[PlacedCode]:
    """``size`` bytes of code at ``pa``, if it is known whose they are."""
    located = guest.locate(pa)
    if located is not None:
        yield PlacedCode(name, *located, size, pa)


def code_mapped(guest: Machine | Resume) -> Iterator[PlacedCode]:
    """By VA: the kernel that is left."""
    for section in guest.old.image.sections:
        if section.flags & SectionFlag.EXEC:
            yield PlacedCode(
                "old_kernel_mapped", guest.old.image, section.va, section.size, section.va
            )
