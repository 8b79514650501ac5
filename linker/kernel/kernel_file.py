"""A kernel on disk: arm64 Image, plain or compressed, as read-only memory with a checked header.

Header and flags: Documentation/arch/arm64/booting.rst. A plain Image is mapped, not read; a
compressed one, alone, inside an EFI zboot file, or that in turn compressed, is expanded, within
bounds, into memory that is only committed as far as it is written. Device trees that some boot
loaders want behind it are left out: kexec brings its own.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import HostFile, memory_descriptor, open_file
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.decompression import SUFFIX, ZBOOT_NAMES, Unpacking, skippable
from relokit.linker.kernel.kernel_magic import COMPRESSIONS, FOREIGN, PE_MACHINES, Magic

MAX_IMAGE = 1 << 30
"""Largest Image and largest image_size accepted, in bytes; shipped ones are under 100 MiB."""
MAX_FILE = MAX_IMAGE

HEADER = struct.Struct("<IIQQQQQQ4sI")
"""code0, code1, text_offset, image_size, flags, three reserved words, magic, PE offset."""
IMAGE_MAGIC = b"ARM\x64"
FLAG_BIG_ENDIAN = 1 << 0
PAGE_SIZES = {0: None, 1: 4096, 2: 16384, 3: 65536}
FLAG_PLACED_ANYWHERE = 1 << 3
MAX_TEXT_OFFSET = MAX_IMAGE
"""Largest text_offset accepted, in bytes: there has to be a hole for it, too."""
BASE_ALIGN = 2 << 20
"""The Image is loaded text_offset bytes past a multiple of this (booting.rst)."""

ZBOOT = struct.Struct("<8xII8x32s")
"""Payload offset, payload size and compression name in the EFI zboot header (linux/pe.h)."""
ZBOOT_MAGIC = (b"MZ", b"zimg")
"""At bytes 0 and 4."""

TREE = struct.Struct(">II")
"""Magic and size of a device tree blob."""
TREE_MAGIC = 0xD00DFEED
MAX_TREE = 2 << 20
MAX_CANDIDATES = 1 << 12
"""What looks like the start of a device tree and is then looked at."""
MAX_LAYERS = 4
"""Files within files that are opened: gzip, zboot, zstd, and none of them twice."""

SUSPECT_RATIO = 100
SUSPECT_SIZE = 64 << 20
"""Past this many bytes, expanding by more than SUSPECT_RATIO is a bomb; kernels expand by 3."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The 64 bytes at the start of an Image. Sizes and offsets in bytes.

    ``image_size`` is the memory the kernel claims from its load address on, BSS included;
    ``pe_offset`` is 0 in a kernel built without the EFI stub.
    """

    code0: int
    code1: int
    text_offset: int
    image_size: int
    flags: int
    pe_offset: int

    @property
    def big_endian(self) -> bool:
        """Flags bit 0."""
        return bool(self.flags & FLAG_BIG_ENDIAN)

    @property
    def page_size(self) -> int | None:
        """Flags bits 2:1: bytes, or None where the kernel does not say."""
        return PAGE_SIZES[self.flags >> 1 & 3]

    @property
    def placed_anywhere(self) -> bool:
        """Flags bit 3: the 2 MiB base may be anywhere, not only near the start of RAM."""
        return bool(self.flags & FLAG_PLACED_ANYWHERE)


@dataclass(frozen=True, slots=True)
class KernelFile:
    """An opened kernel; ``data`` is the uncompressed Image, and goes to other processes as it is.

    ``compression`` is ``none``, or what it was unpacked from, outermost first: ``zboot/zstd``.
    """

    path: Path
    compression: str
    header: ImageHeader
    data: HostFile = field(repr=False)

    @property
    def image(self) -> memoryview:
        """The uncompressed Image."""
        return self.data.content

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name


def open_kernel(path: str | Path) -> KernelFile:
    """Open the kernel at ``path``; see :func:`read_kernel`."""
    file = open_file(path, what="an arm64 Image or a vmlinuz", limit=MAX_FILE)
    return read_kernel(file)


def read_kernel(file: HostFile) -> KernelFile:
    """Expand an opened kernel and check it as the kernel's own kexec_file loader would.

    Raises FormatError naming the file, what is wrong with it and what to do.
    """
    where, data = file.where, file
    layers: list[str] = []
    while len(layers) < MAX_LAYERS:
        content = data.content
        if _is_zboot(content):
            name, payload = _zboot_payload(content, where)
            layers += ["zboot", name]
            data = _expand(name, payload, where)
        # The first instruction of an Image without EFI stub can look like a compression's magic.
        elif not _is_image(content) and (packed := _compression(content)):
            layers.append(packed)
            data = _expand(packed, content, where)
        else:
            break
    header = parse_header(data.content, where=where)
    end = _without_trees(data.content, max(HEADER.size, _pe_end(header, data.content)))
    if end < data.size:
        data = HostFile(os.dup(data.descriptor), end, where)
    _check_length(header, data.content, where)
    return KernelFile(Path(where), "/".join(layers) or "none", header, data)


def _is_zboot(content: memoryview | bytes) -> bool:
    return (bytes(content[:2]), bytes(content[4:8])) == ZBOOT_MAGIC


def _is_image(content: memoryview | bytes) -> bool:
    return bytes(content[56:60]) == IMAGE_MAGIC


def _compression(content: memoryview) -> str | None:
    """What ``content`` is compressed with, if it is."""
    found = _recognise(content[skippable(content) :], COMPRESSIONS)
    return None if found is None else found.what


def parse_header(image: memoryview | bytes, *, where: str) -> ImageHeader:
    """Parse and check the header at the start of ``image``; raises FormatError naming ``where``."""
    head = bytes(image[: HEADER.size])
    words = HEADER.unpack(head) if len(head) == HEADER.size else None
    if words is None or words[8] != IMAGE_MAGIC:
        raise _not_an_image(memoryview(image), where)
    code0, code1, text_offset, image_size, flags, *_, pe_offset = words
    header = ImageHeader(code0, code1, text_offset, image_size, flags, pe_offset)
    if header.big_endian:
        raise FormatError(
            "big-endian kernel: the CPU here starts it little-endian",
            where=where,
            hint="give a kernel built with CONFIG_CPU_LITTLE_ENDIAN",
        )
    if image_size == 0:
        raise FormatError(
            "image_size is 0: the kernel is older than 3.17 and does not say what memory it needs",
            where=where,
            hint="kexec_file refuses it too; give a newer kernel",
        )
    if image_size > MAX_IMAGE:
        raise FormatError(
            f"image_size is {image_size:#x} bytes, more than the {MAX_IMAGE:#x} accepted",
            where=where,
            hint="the header is damaged, or this is no kernel",
        )
    if text_offset > MAX_TEXT_OFFSET or text_offset % 4096:
        raise FormatError(
            f"text_offset is {text_offset:#x}: not a multiple of 4 KiB up to {MAX_TEXT_OFFSET:#x}",
            where=where,
            hint="the header is damaged",
        )
    return header


def _recognise(content: memoryview, table: Iterable[Magic]) -> Magic | None:
    return next(
        (
            entry
            for entry in table
            if bytes(content[entry.offset : entry.offset + len(entry.magic)]) == entry.magic
        ),
        None,
    )


def _not_an_image(content: memoryview, where: str) -> FormatError:
    """What the file is instead, as far as its first bytes tell."""
    hint = "give an arm64 Image (arch/arm64/boot/Image) or a vmlinuz"
    known = _recognise(content, (*FOREIGN, *COMPRESSIONS))
    if known is not None:
        return FormatError(
            f"not an arm64 Image: {known.what}", where=where, hint=known.hint or hint
        )
    if len(content) < HEADER.size:
        return FormatError(
            f"truncated: {len(content)} bytes, but an Image's header alone has {HEADER.size}",
            where=where,
            hint=hint,
        )
    if bytes(content[:2]) == b"MZ":
        machine = _pe_machine(content)
        what = PE_MACHINES.get(machine, f"machine {machine:#x}")
        return FormatError(
            f"not an arm64 Image: EFI program (PE/COFF) for {what}", where=where, hint=hint
        )
    return FormatError(
        "not an arm64 Image: no 'ARM\\x64' at byte 56, and nothing else that is known",
        where=where,
        hint=hint,
    )


def _pe_machine(content: memoryview) -> int:
    offset = int.from_bytes(content[60:64], "little")
    if bytes(content[offset : offset + 4]) != b"PE\0\0":
        return 0
    return int.from_bytes(content[offset + 4 : offset + 6], "little")


def _zboot_payload(content: memoryview, where: str) -> tuple[str, memoryview]:
    """The compression's name and the compressed bytes of an EFI zboot file."""
    if len(content) < 64:
        raise FormatError("truncated EFI zboot header", where=where)
    offset, size, comp_type = ZBOOT.unpack_from(content)
    name = comp_type.split(b"\0")[0].decode("ascii", "replace")
    known = ZBOOT_NAMES.get(name)
    if known is None:
        raise FormatError(
            f"EFI zboot payload compressed with {name!r}, which is unsupported",
            where=where,
            hint="unpack it by hand and give the Image",
        )
    if offset < 64 or offset + size > len(content):
        raise FormatError(
            f"truncated EFI zboot file: payload at {offset:#x}+{size:#x}, "
            f"but the file has {len(content):#x} bytes",
            where=where,
            hint="was the download cut short?",
        )
    return known, content[offset : offset + size]


def _expand(name: str, packed: memoryview, where: str) -> HostFile:
    """Decompress an Image. Its own header, checked first, says how much it may at most be."""
    stream = Unpacking(name, packed, where)
    head = bytearray()
    target: mmap.mmap | None = None
    descriptor = memory_descriptor("kernel", where)
    expanded = HostFile(descriptor, 0, where)
    for piece in stream:
        data = piece
        if target is None:
            head += data
            if len(head) < HEADER.size:
                continue
            limit = _limit(bytes(head), where)
            target = _room(descriptor, limit, where)
            data = bytes(head)
        if target.tell() + len(data) > limit:
            raise FormatError(
                f"expands past the {limit:#x} bytes that its image_size says",
                where=where,
                hint="the file is damaged",
            )
        spend(len(data), "unpacked kernels", where)
        target.write(data)
        if target.tell() > max(SUSPECT_SIZE, SUSPECT_RATIO * stream.taken):
            raise FormatError(
                f"decompression bomb: {stream.taken} bytes expand to more than {target.tell()}",
                where=where,
            )
    if target is None:
        raise _not_an_image(memoryview(bytes(head)), where)
    _check_trailing(packed[stream.taken :], target.tell(), name, where)
    expanded.size = target.tell()
    target.close()
    return expanded


def _limit(head: bytes, where: str) -> int:
    """How many bytes what starts with ``head`` may have; raises FormatError if it is no kernel."""
    if not _is_image(head) and (_is_zboot(head) or _compression(memoryview(head))):
        return MAX_FILE
    return parse_header(head, where=where).image_size


def _room(descriptor: int, size: int, where: str) -> mmap.mmap:
    """Memory that has a descriptor; pages count only once they are written."""
    try:
        os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    except (OSError, MemoryError) as error:
        raise FormatError(
            f"no memory to expand it into: its image_size is {size} bytes",
            where=where,
            hint="raise the memory limit, or decompress it and give the Image",
        ) from error


def _check_trailing(rest: memoryview, expanded: int, name: str, where: str) -> None:
    """Padding may follow, the expanded size as a kernel's build appends it, and device trees."""
    rest = rest[: _without_trees(rest, 0)]
    if len(rest) == SUFFIX and bytes(rest) == struct.pack("<I", expanded & 0xFFFFFFFF):
        return
    if any(bytes(rest)):
        raise FormatError(
            f"trailing garbage: {len(rest)} bytes follow the {name} data",
            where=where,
            hint="cut the file at the end of the compressed data",
        )


def _without_trees(content: memoryview, first: int) -> int:
    """Where the device trees begin that end ``content``, each right behind the one before.

    They are looked for from byte ``first`` on.
    """
    end, tries = len(content), MAX_CANDIDATES
    magic = struct.pack(">I", TREE_MAGIC)
    while tries:
        low = max(first, end - MAX_TREE)
        window = bytes(content[low:end])
        at = window.rfind(magic, 0, len(window) - 4)
        while at >= 0 and tries and TREE.unpack_from(window, at)[1] != len(window) - at:
            at, tries = window.rfind(magic, 0, at + 3), tries - 1
        if at < 0 or not tries:
            break
        end, tries = low + at, tries - 1
    return end


def _check_length(header: ImageHeader, image: memoryview, where: str) -> None:
    """The file against image_size, and against its own PE section table where it has one."""
    if len(image) > header.image_size:
        raise FormatError(
            f"trailing garbage: {len(image):#x} bytes, but image_size is {header.image_size:#x}",
            where=where,
            hint="the file is damaged or something was appended to it",
        )
    needed = _pe_end(header, image)
    if needed > len(image):
        raise FormatError(
            f"truncated: the PE section table goes up to byte {needed:#x}, "
            f"but there are only {len(image):#x}",
            where=where,
            hint="was the download cut short?",
        )


def _pe_end(header: ImageHeader, image: memoryview) -> int:
    """First byte after the last PE section's data (PE/COFF format, section table); 0 if no PE."""
    start = header.pe_offset
    if bytes(image[start : start + 4]) != b"PE\0\0" or start + 24 > len(image):
        return 0
    sections: int
    optional_size: int
    (sections,) = struct.unpack_from("<H", image, start + 6)
    (optional_size,) = struct.unpack_from("<H", image, start + 20)
    table = start + 24 + optional_size
    end = table + 40 * sections
    if end > len(image):
        return end
    for at in range(table, end, 40):
        raw_size, raw_offset = struct.unpack_from("<II", image, at + 16)
        end = max(end, raw_offset + raw_size)
    return end
