"""A linked Image as the flat bytes a boot loader copies to memory, like objcopy -O binary."""

from __future__ import annotations

from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import SectionFlag, SectionType
from relokit.linker.image import Image

MAX_FLAT = 1 << 30


def flatten(image: Image) -> bytes:
    """The bytes from the lowest to the highest loaded PA; gaps are zero, NOBITS is left out.

    Raises LinkError if that spans more than 1 GiB.
    """
    loaded = [
        section
        for section in image.sections
        if section.flags & SectionFlag.ALLOC
        and section.type is not SectionType.NOBITS
        and section.size
    ]
    if not loaded:
        return b""
    base = min(section.pa for section in loaded)
    end = max(section.pa + section.size for section in loaded)
    if end - base > MAX_FLAT:
        raise LinkError(
            f"{image.name}: its sections span {end - base:#x} bytes",
            hint="place them closer together in the ld script",
        )
    flat = bytearray(end - base)
    for section in loaded:
        flat[section.pa - base : section.pa - base + section.size] = section.data
    return bytes(flat)
