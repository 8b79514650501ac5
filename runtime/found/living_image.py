"""A kernel's text as it is in RAM, alternatives and all, as an Image with its own names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from relokit.codegen.object import Binding, SectionFlag, SectionType, SymbolType
from relokit.linker.elf_format import PT_LOAD
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag
from relokit.linker.kernel.shipped import shipped_image
from relokit.runtime.found.living_state import LivingKernel
from relokit.runtime.guest.memory import GuestMemory

_CODE = frozenset("TtWw")
TEXT = ".kernel"
ALIGN = 1 << 16


def living_image(kernel: LivingKernel, memory: GuestMemory) -> Image:
    """A copy of what is in RAM of all that the file has, at the VAs that it runs at.

    Raises FormatError if it has no code of kexec.
    """
    end = kernel.file.data.size
    section = PlacedSection(
        name=TEXT,
        va=kernel.va,
        pa=0,
        size=end,
        align=ALIGN,
        type=SectionType.PROGBITS,
        flags=SectionFlag.ALLOC | SectionFlag.EXEC,
        data=memory.read(kernel.pa, end),
    )
    return Image(
        name=kernel.file.name,
        sections=(section,),
        segments=(Segment(TEXT, PT_LOAD, SegmentFlag.R | SegmentFlag.X, (0,), ALIGN),),
        symbols=tuple(_symbols(kernel, end)),
        entry=kernel.va,
    )


def _symbols(kernel: LivingKernel, end: int) -> Iterator[ImageSymbol]:
    """Those that the routines of kexec are found by, and the functions."""
    shift = kernel.va - kernel.symbols.link_base
    for one in shipped_image(kernel.file, kernel.symbols).symbols:
        yield replace(one, value=one.value + shift, section=0)
    for name, letter, at in kernel.symbols.within(0, end):
        if letter in _CODE:
            binding = Binding.GLOBAL if letter.isupper() else Binding.LOCAL
            yield ImageSymbol(name, kernel.va + at, 0, binding, SymbolType.FUNC, 0)
