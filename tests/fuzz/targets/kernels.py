"""Kernels: Images, what they are packed in, and what is read out of them."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from random import Random

from fuzz import files
from fuzz.door import Door
from fuzz.mutations import mutated, within
from fuzz.targets import own
from relokit.building import encoder
from relokit.linker.foreign.doors import open_code
from relokit.linker.foreign.packed import UnpackedFiles
from relokit.linker.kernel.alternatives import read_alternatives
from relokit.linker.kernel.btf import has_btf, kernel_version, kimage_layout_from, read_struct
from relokit.linker.kernel.kallsyms import Kallsyms, read_kallsyms
from relokit.linker.kernel.kernel_file import read_kernel
from support import btf_blobs, symbol_tables
from support.archives import archive
from support.kernel_images import EVERY, image, with_pe, zboot

PACKERS = tuple(EVERY)


def _images() -> Sequence[bytes]:
    return [image(0x1000), with_pe(0x2000, 0x2000), *(pack(image(0x800)) for pack in PACKERS)]


def _packed(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Half of them are damaged before they are packed, half behind that."""
    if random.random() < 0.5:
        return mutated(random, seeds)
    inside = mutated(random, [image(0x800), with_pe(0x1800, 0x1800)])
    for _ in range(random.choice((1, 1, 1, 2))):
        inside = random.choice(PACKERS)(inside)
    return inside


def _kernel(case: bytes) -> object:
    kernel = read_kernel(files.opened(case))
    return has_btf(kernel.image), kernel_version(kernel.image)


def _codes() -> Sequence[bytes]:
    objects = own.objects()
    members = {f"member_with_a_long_name_{at}.o": one for at, one in enumerate(objects[:3])}
    return [
        objects[0], own.linked(), gzip.compress(objects[0], 1, mtime=0), archive(members),
        zboot(gzip.compress(image(0x800), mtime=0), b"gzip"), b"BC\xc0\xde" + objects[0][:64],
    ]  # fmt: skip


def _code(case: bytes) -> object:
    return open_code(files.put(case), UnpackedFiles(), encoder)


def _blobs() -> Sequence[bytes]:
    whole = btf_blobs.kernel(btf_blobs.KIMAGE_6_1, btf_blobs.ARCH)
    return [bytes(whole), bytes(btf_blobs.all_kinds().image(header=32))]


def _btf(case: bytes) -> object:
    view = memoryview(case)
    read_struct(view, "kimage")
    return kimage_layout_from(view)


SMALL = 0x1_8000
"""Bytes of a kernel's symbol tables and what is around them: the rest is cut away."""


def _symbols() -> Sequence[bytes]:
    kernels = [symbol_tables.Synthetic(one.generation, count=700) for one in
               symbol_tables.GENERATIONS]  # fmt: skip
    return [_less(bytes(one.image())) for one in kernels]


def _less(whole: bytes) -> bytes:
    """A kernel's head and its tables only; ``_whole`` puts the zeros between them again."""
    at = symbol_tables.TABLE_AT
    return whole[:64] + whole[at : at + SMALL] + whole[0x30_0000 : 0x30_0000 + 24 * 700]


def _whole(case: bytes) -> memoryview:
    data = bytearray(symbol_tables.IMAGE_SIZE)
    data[:64] = case[:64].ljust(64, b"\0")
    at = symbol_tables.TABLE_AT
    tables, pointers = case[64 : 64 + SMALL], case[64 + SMALL :][: 1 << 20]
    data[at : at + len(tables)] = tables
    data[0x30_0000 : 0x30_0000 + len(pointers)] = pointers
    return memoryview(bytes(data))


def _kallsyms(case: bytes) -> object:
    found = read_kallsyms(_whole(case))
    return found.names, list(found.within(0, 1 << 20)), found.end(64), found.types


TABLE = 0x400


def _alternatives_made() -> Sequence[bytes]:
    rows = [struct.pack("<iiHBB", 0x100 - TABLE - 12 * at, 0x200 - TABLE - 12 * at, at, 8, 8)
            for at in range(300)]  # fmt: skip
    return [bytes(TABLE) + b"".join(rows) + bytes(64)]


def _alternatives(case: bytes) -> object:
    end = TABLE + 12 * 300
    names = (("__alt_instructions", "t", TABLE), ("__alt_instructions_end", "t", end))
    found = read_alternatives(memoryview(case), Kallsyms.of(names, 0xFFFF_8000_0800_0000))
    return found.within(0, 1 << 40), found.replacing_from(0, 1 << 40)


def _everywhere(data: bytes) -> Sequence[int]:
    return range(0, min(len(data), 0x4000), 2)


DOORS = (
    Door("kernel", "kernel files of every kind of packing", _images, _packed, _kernel, 0.2),
    Door("code", "--code-from: objects, linked files, archives, packed ones", _codes,
         mutated, _code, 0.5),
    Door("btf", "BTF", _blobs, within(_everywhere), _btf, 0.1),
    Door("kallsyms", "symbol tables of five generations of kernels", _symbols,
         within(_everywhere), _kallsyms, 5.0),
    Door("alternatives", "tables of boot-time alternatives", _alternatives_made,
         within(_everywhere), _alternatives, 0.5),
)  # fmt: skip
