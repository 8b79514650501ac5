"""Kernels: Images, what they are packed in, and what is read out of them."""

from __future__ import annotations

import gzip
import struct
from array import array
from collections import Counter
from collections.abc import Sequence
from random import Random

from fuzz import files
from fuzz.door import Door, WrongError
from fuzz.mutations import MASK, mutated, within
from fuzz.targets import own
from relokit.building import encoder
from relokit.linker.foreign.doors import open_code
from relokit.linker.foreign.packed import UnpackedFiles
from relokit.linker.kernel.alternatives import read_alternatives
from relokit.linker.kernel.btf import has_btf, kernel_version, kimage_layout_from, read_struct
from relokit.linker.kernel.kallsyms import Kallsyms, read_kallsyms
from relokit.linker.kernel.kernel_file import read_kernel
from relokit.linker.kernel.pointers import Pointers, voted_base
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


def _several(case: bytes) -> object:
    """Files behind one another, as --code-from takes many."""
    paths = [files.put(one, f"{number}.o") for number, one in enumerate(case.split(BETWEEN)[:4])]
    return open_code(tuple(paths), UnpackedFiles(), encoder)


def _together() -> Sequence[bytes]:
    objects = own.objects()
    return [BETWEEN.join([objects[0], *objects[2:4]]), BETWEEN.join([own.linked(), objects[0]])]


BETWEEN = b"\n-- the next file --\n"


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


def _relocations() -> Sequence[bytes]:
    """An Image's words: pointers that are stored, and some that boot puts there."""
    base = symbol_tables.BASE
    rows = [struct.pack("<QQQ", base + 8 * at, 0x403, base + 64 * at) for at in range(40)]
    stored = struct.pack("<120Q", *(base + 64 * (at % 40) for at in range(120)))
    return [stored + b"".join(rows), stored + bytes(40) + b"".join(reversed(rows)), b"".join(rows)]


def _pointers(case: bytes) -> object:
    """As native code has them, and as they are read here, word by word."""
    size = len(case) // 8
    words = struct.unpack_from(f"<{size}Q", case)
    base, image = symbol_tables.BASE, memoryview(case)
    end = base + 8 * size
    found = Pointers(image, base)
    beside = [(words[at], words[at + 2]) for at in range(size - 2)
              if words[at + 1] == 0x403 and base <= words[at] < end]  # fmt: skip
    places = dict(beside)
    often = Counter(at for at, _ in beside)
    for at in range(0, 8 * size, 8):
        if often[base + at] > 1:
            # Which of them boot does last is not asked here.
            continue
        expected = places.get(base + at, words[at // 8])
        if found.at(at) != expected - base:
            raise WrongError("another pointer than there is")
    for offset in (0, 64, 128, words[0] - base if size else 0):
        stored = [8 * at for at, one in enumerate(words) if one == base + offset & MASK]
        if found.to(offset, 1000)[: len(stored)] != stored[:1000]:
            raise WrongError("other pointers to a place")
    return voted_base(image, array("Q", range(0, 64 * 40, 64)))


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
    Door("several", "several files of --code-from", _together, mutated, _several, 2.0),
    Door("btf", "BTF", _blobs, within(_everywhere), _btf, 0.1),
    Door("kallsyms", "symbol tables of five generations of kernels", _symbols,
         within(_everywhere), _kallsyms, 5.0),
    Door("pointers", "pointers of a kernel, stored or relocated, read twice", _relocations,
         within(_everywhere), _pointers, 0.6),
    Door("alternatives", "tables of boot-time alternatives", _alternatives_made,
         within(_everywhere), _alternatives, 0.5),
)  # fmt: skip
