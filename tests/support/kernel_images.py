"""Kernel Images made here, byte by byte, and as builds and packagers wrap them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from functools import reduce

import lz4.block
import lz4.frame
import zstandard

from relokit.runtime.board.devicetree import virt_dtb

IMAGE_SIZE = 0x20000
PE_OFFSET = 0x40


def header(
    *,
    image_size: int = IMAGE_SIZE,
    flags: int = 0xA,
    text_offset: int = 0,
    magic: bytes = b"ARM\x64",
    pe_offset: int = 0,
) -> bytes:
    """The 64 bytes as booting.rst draws them, put together without the code under test."""
    return b"".join(
        (
            b"MZ\x40\xfa",
            struct.pack("<I", 0x14000010),
            struct.pack("<QQQ", text_offset, image_size, flags),
            bytes(24),
            magic,
            struct.pack("<I", pe_offset),
        )
    )


def image(size: int = 0x8000, **fields: int) -> bytes:
    body = bytes(range(256)) * (size // 256)
    return (header(**fields) + body)[:size]  # type: ignore[arg-type]


def with_pe(raw_end: int, size: int, sections: int = 1) -> bytes:
    """An Image with a PE header and one section whose data ends at ``raw_end``."""
    pe = struct.pack("<4sHH12xHH", b"PE\0\0", 0xAA64, sections, 0, 0x206)
    section = struct.pack("<8sIIII16x", b".text", raw_end, 0x1000, raw_end - 0x1000, 0x1000)
    start = header(pe_offset=PE_OFFSET) + pe + section
    return start + bytes(size - len(start))


def zboot(payload: bytes, name: bytes, *, size: int | None = None) -> bytes:
    length = len(payload) if size is None else size
    head = struct.pack("<2s2x4sII8x32s", b"MZ", b"zimg", 64, length, name)
    return head.ljust(64, b"\0") + payload


ZSTD = zstandard.ZstdCompressor()


def lzma_alone(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


def legacy_lz4(data: bytes) -> bytes:
    """Blocks of 8 MiB behind their sizes, as ``lz4 -l`` writes them."""
    blocks = [
        lz4.block.compress(data[at : at + (8 << 20)], store_size=False)
        for at in range(0, len(data), 8 << 20)
    ]
    sized = (struct.pack("<I", len(block)) + block for block in blocks)
    return b"\x02\x21\x4c\x18" + b"".join(sized)


PACKED = {
    "gzip": gzip.compress,
    "zstd": ZSTD.compress,
    "xz": lzma.compress,
    "lzma": lzma_alone,
    "bzip2": bz2.compress,
    "lz4": lz4.frame.compress,
    "zboot/gzip": lambda data: zboot(gzip.compress(data, mtime=0), b"gzip"),
    "zboot/zstd": lambda data: zboot(zstandard.ZstdCompressor().compress(data), b"zstd"),
}


APPENDED = struct.pack("<I", IMAGE_SIZE)
TREE = virt_dtb(1 << 30, 1 << 30)
FIVE_TIMES = reduce(lambda data, _: gzip.compress(data, mtime=0), range(5), image())
KINDS = {
    # What a kernel's build calls them, with the size that it appends, but for gzip.
    "zboot/zstd": lambda data: zboot(ZSTD.compress(data) + APPENDED, b"zstd22"),
    "zboot/xz": lambda data: zboot(lzma.compress(data) + APPENDED, b"xzkern"),
    "zboot/lzma": lambda data: zboot(lzma_alone(data) + APPENDED, b"lzma"),
    "zboot/lz4": lambda data: zboot(legacy_lz4(data) + APPENDED, b"lz4"),
    "lz4": legacy_lz4,
    "gzip/zboot/zstd": lambda data: gzip.compress(zboot(ZSTD.compress(data), b"zstd22")),
    "zstd/gzip": lambda data: ZSTD.compress(gzip.compress(data)),
}
FOLLOWED = {
    "gzip": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
    "xz": lambda data: lzma.compress(data[:9999]) + lzma.compress(data[9999:]),
    "bzip2": lambda data: bz2.compress(data[:1]) + bz2.compress(data[1:]),
    "zstd": lambda data: ZSTD.compress(data[:70]) + skipped(9) + ZSTD.compress(data[70:]),
    "lz4": lambda data: lz4.frame.compress(data[:8]) + lz4.frame.compress(data[8:]),
}


EVERY = [*PACKED.values(), *KINDS.values(), *FOLLOWED.values()]


def skipped(size: int) -> bytes:
    """A frame of zstd or lz4 that is to be skipped."""
    return struct.pack("<II", 0x184D2A53, size) + b"x" * size
