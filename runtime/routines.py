"""The machine code that the old kernel copies to safe pages, out of an Image: ours or shipped."""

from __future__ import annotations

from dataclasses import dataclass

from relokit.codegen.errors import LinkError
from relokit.codegen.facts import EL2_VECTORS_SIZE
from relokit.linker.image import Image

MAX_RELOCATION = 1 << 16


@dataclass(frozen=True, slots=True)
class Routines:
    """``relocation`` is copied to the control page and entered ``entry`` bytes into it.

    ``va`` is where ``image`` has those bytes, for diagnoses. ``vectors`` are the 0x800 bytes of
    ``trans_pgd_stub_vectors``, None where the kernel has none (before patch 2).
    """

    image: Image
    va: int
    relocation: bytes
    entry: int
    vectors: bytes | None


def routines_of(image: Image) -> Routines:
    """Find the routines by their symbols; raises LinkError naming a missing one."""
    entry = _symbol(image, "arm64_relocate_new_kernel")
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
        vectors = _bytes(image, image.symbol("trans_pgd_stub_vectors"), EL2_VECTORS_SIZE)
    return Routines(image, start, _bytes(image, start, size), entry - start, vectors)


def _symbol(image: Image, name: str) -> int:
    if not image.has_symbol(name):
        raise LinkError(f"{image.name}: no symbol {name}")
    return image.symbol(name)


def _bytes(image: Image, va: int, size: int) -> bytes:
    try:
        return image.read(va, size)
    except KeyError as error:
        raise LinkError(str(error.args[0])) from None
