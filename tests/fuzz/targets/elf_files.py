"""ELF files of every kind: objects, linked files, kernels with their symbols, modules."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from fuzz.door import Door
from fuzz.mutations import within
from fuzz.targets import own
from relokit.linker.elf.elf_reader import read_code, read_image, read_object
from relokit.linker.elf_format import EHDR, SHDR


def _objects() -> Sequence[bytes]:
    return own.objects()


def _linked() -> Sequence[bytes]:
    return [own.linked()]


@lru_cache(maxsize=64)
def spots(data: bytes) -> Sequence[int]:
    """Where fields are that lead elsewhere: the headers, and what is in small sections."""
    places = list(range(16, 64, 2))
    try:
        head = EHDR.unpack_from(data)
        rows = [SHDR.unpack_from(data, head[6] + SHDR.size * at) for at in range(head[12])]
    except struct.error:
        return places
    places += range(head[5], head[5] + 56 * head[10], 4)
    places += range(head[6], head[6] + SHDR.size * head[12], 4)
    for row in rows:
        if row[1] != 8:  # SHT_NOBITS
            places += range(row[4], row[4] + min(row[5], 4096), 4)
    return places


DOORS = (
    Door("object", "objects (.o)", _objects, within(spots),
         lambda case: read_object(case, "case.o"), 0.07),
    Door("object-read", "objects (.o), to be looked at", _objects, within(spots),
         lambda case: read_object(case, "case.o", to_link=False), 0.1, weight=0.5),
    Door("elf", "linked ELF files, strictly", _linked, within(spots),
         lambda case: read_image(case, "case"), 0.2),
    Door("elf-code", "the code of linked ELF files of any origin", _linked, within(spots),
         lambda case: read_code(case, "case"), 0.15),
)  # fmt: skip
