"""The machine code that the old kernel copies to safe pages, out of the linked Image."""

from __future__ import annotations

from dataclasses import replace

from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import RELOCATION, VECTOR_TABLE_SIZE
from relokit.codegen.object import Binding, SectionFlag, SectionType, SymbolType
from relokit.linker.image import Image, ImageSymbol, PlacedSection

AS_MERGED = "6.1"
"""The version whose C half is as the series left it."""
MAX_RELOCATION = 1 << 16
REPLACEMENT_ALIGN = 1 << 21


@dataclass(frozen=True, slots=True)
class Routines:
    """``relocation`` is copied to the control page and entered ``entry`` bytes into it.

    ``va`` is where ``image`` has those bytes, for diagnoses. ``vectors`` are the 0x800 bytes of
    ``trans_pgd_stub_vectors``, None where the kernel has none (before patch 2). ``version`` is the
    kernel's whose code this is (``6.12``), since its C half prepares the move by rules of its own.
    """

    image: Image
    va: int
    relocation: bytes
    entry: int
    vectors: bytes | None
    version: str = AS_MERGED


def routines_of(image: Image) -> Routines:
    """Find the routines by their symbols; raises LinkError naming a missing one."""
    entry = _symbol(image, RELOCATION)
    if image.has_symbol("__relocate_new_kernel_start"):
        start = image.symbol("__relocate_new_kernel_start")
        size = _symbol(image, "__relocate_new_kernel_end") - start
    else:
        start = entry
        word = _symbol(image, "arm64_relocate_new_kernel_size")
        size = int.from_bytes(_bytes(image, word, 8), "little")
    if not entry - start < size <= MAX_RELOCATION:
        raise LinkError(
            f"{image.name}: the relocation code is {size:#x} bytes from {start:#x}, entered at "
            f"{entry:#x}",
            hint="the ld script has to place all of it between its start and end symbols",
        )
    vectors = None
    if image.has_symbol("trans_pgd_stub_vectors"):
        vectors = _bytes(image, image.symbol("trans_pgd_stub_vectors"), VECTOR_TABLE_SIZE)
    return Routines(image, start, _bytes(image, start, size), entry - start, vectors)


def with_relocation(routines: Routines, code: bytes) -> Routines:
    """``routines`` with ``code`` as the relocation, entered at its first byte.

    It gets a VA behind all else in the image, so that it can be shown when it fails.
    """
    image = routines.image
    if not 0 < len(code) <= MAX_RELOCATION:
        raise LinkError(f"{RELOCATION} has {len(code):#x} bytes", hint="at most 64 KiB are copied")
    end = max(section.va + section.size for section in image.sections)
    va = -(-end // REPLACEMENT_ALIGN) * REPLACEMENT_ALIGN
    flags = SectionFlag.ALLOC | SectionFlag.EXEC
    section = PlacedSection(
        ".relocation", va, va, len(code), REPLACEMENT_ALIGN, SectionType.PROGBITS, flags, code
    )
    symbol = ImageSymbol(
        RELOCATION, va, len(code), Binding.GLOBAL, SymbolType.FUNC, len(image.sections)
    )
    changed = replace(
        image,
        sections=(*image.sections, section),
        symbols=(*(one for one in image.symbols if one.name != RELOCATION), symbol),
    )
    return replace(routines, image=changed, va=va, relocation=code, entry=0)


def _symbol(image: Image, name: str) -> int:
    if not image.has_symbol(name):
        raise LinkError(f"{image.name}: no symbol {name}")
    return image.symbol(name)


def _bytes(image: Image, va: int, size: int) -> bytes:
    try:
        return image.read(va, size)
    except KeyError as error:
        raise LinkError(str(error.args[0])) from None
