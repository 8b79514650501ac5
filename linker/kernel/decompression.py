"""A compressed kernel, piece by piece: no piece is larger than some MiB, whatever it expands to.

What may follow one another does: members of gzip, streams of xz and bzip2, frames of zstd and lz4,
and frames among these that are to be skipped. Libraries are imported by need: those of Python, or
small ones that are kept up. There is none such for lzo.

Sources: RFC 1952, RFC 8878 (3.1.2, skippable frames), the .xz and lz4 frame format notes; names in
EFI zboot files: what ``COMP_TYPE`` is made of in drivers/firmware/efi/libstub.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

from relokit.codegen.base.errors import FormatError

ZBOOT_NAMES = {
    "gzip": "gzip",
    "zstd": "zstd",
    "zstd22": "zstd",
    "xz": "xz",
    "xzkern": "xz",
    "lzma": "lzma",
    "lz4": "lz4",
    "lzo": "lzo",
}
"""What an EFI zboot file calls a compression, and what it is called here."""
STEP = {"gzip": 8 << 10, "zstd": 1 << 8}
"""Bytes handed over at a time, where it is not 64 KiB: even a bomb then gives back no more than
some 8 MiB at once (deflate expands by at most 1032; zstd gets a block at a time, which stands for
128 KiB at most, and so may 4 bytes where there is none; the others take a limit)."""
PIECE = 1 << 20
"""Bytes that those are let give back at once."""
MAX_DICTIONARY = 192 << 20
"""Bytes that a decompressor may set aside for itself: kernels are packed with 128 MiB at most."""

LZ4_FRAME, LZ4_LEGACY = b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"
LEGACY_BLOCK = 8 << 20
"""Bytes that a block of lz4's old format expands to at most."""
SKIPPED = b"\x2a\x4d\x18"
"""Behind a byte 0x50 to 0x5f, the start of a frame to be skipped, of zstd and of lz4."""
_MAGIC = {
    "gzip": b"\x1f\x8b",
    "zstd": b"\x28\xb5\x2f\xfd",
    "xz": b"\xfd7zXZ\0",
    "bzip2": b"BZh",
    "lz4": LZ4_FRAME,
}
"""How what may follow the first of its kind begins; of lzma nothing may."""
SUFFIX = 4
"""Bytes of size that a kernel's build may have put behind: too short for another stream."""


class Unpacking:
    """``packed`` as it expands: iterate over it once. ``taken`` are the bytes used so far.

    Raises FormatError naming ``where`` for what is damaged, cut short or cannot be read here.
    """

    def __init__(self, name: str, packed: memoryview, where: str) -> None:
        self.taken = 0
        self._name, self._packed, self._where = name, packed, where

    def __iter__(self) -> Iterator[bytes]:
        magic = _MAGIC.get(self._name)
        while True:
            self._skip()
            yield from self._one()
            self._skip()
            rest = self._packed[self.taken :]
            if magic is None or len(rest) <= SUFFIX or bytes(rest[: len(magic)]) != magic:
                return

    def _skip(self) -> None:
        if self._name in ("zstd", "lz4"):
            self.taken += skippable(self._packed[self.taken :])

    def _one(self) -> Iterator[bytes]:
        """What one member, stream or frame expands to."""
        if self._name == "lz4" and bytes(self._packed[self.taken :][:4]) == LZ4_LEGACY:
            yield from self._legacy()
            return
        decoder, failures = self._decoder()
        steps: Iterator[int] = repeat(STEP.get(self._name, 1 << 16))
        if self._name == "zstd":
            steps = chain(_zstd_parts(self._packed[self.taken :]), steps)
        while not decoder.eof:
            chunk = bytes(self._packed[self.taken : self.taken + next(steps)])
            if not chunk:
                raise self._truncated()
            self.taken += len(chunk)
            try:
                yield from _given(decoder, chunk)
            except failures as error:
                raise self._corrupt(error) from error
        self.taken -= len(decoder.unused_data or b"")

    def _legacy(self) -> Iterator[bytes]:
        """Blocks behind their sizes; whatever cannot be a size ends them."""
        block = self._library("lz4.block")
        self.taken += len(LZ4_LEGACY)
        while self.taken < len(self._packed):
            size = int.from_bytes(self._packed[self.taken : self.taken + 4], "little")
            if not 0 < size <= LEGACY_BLOCK + LEGACY_BLOCK // 255 + 16:
                return
            if size > len(self._packed) - self.taken - 4:
                # The size of the whole may be behind, which is larger than any rest.
                if len(self._packed) - self.taken <= SUFFIX:
                    return
                raise self._truncated()
            packed = bytes(self._packed[self.taken + 4 : self.taken + 4 + size])
            try:
                data = block.decompress(packed, uncompressed_size=LEGACY_BLOCK)
            except block.LZ4BlockError as error:
                raise self._corrupt(error) from error
            self.taken += 4 + size
            yield data

    def _decoder(self) -> tuple[Any, tuple[type[Exception], ...]]:
        match self._name:
            case "gzip":
                zlib = self._library("zlib")
                return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), (zlib.error,)
            case "zstd":
                zstd = self._library("zstandard")
                context = zstd.ZstdDecompressor(max_window_size=MAX_DICTIONARY)
                return context.decompressobj(), (zstd.ZstdError,)
            case "xz" | "lzma":
                lzma = self._library("lzma")
                form = lzma.FORMAT_XZ if self._name == "xz" else lzma.FORMAT_ALONE
                return lzma.LZMADecompressor(form, MAX_DICTIONARY), (lzma.LZMAError,)
            case "bzip2":
                return self._library("bz2").BZ2Decompressor(), (OSError, ValueError)
            case "lz4":
                return self._library("lz4.frame").LZ4FrameDecompressor(), (RuntimeError,)
        raise FormatError(
            f"compressed with {self._name}, which is unsupported",
            where=self._where,
            hint="decompress it and give the Image",
        )

    def _library(self, name: str) -> Any:
        from importlib import import_module

        try:
            return import_module(name)
        except ImportError:
            raise FormatError(
                f"compressed with {self._name}, and there is no module {name} here",
                where=self._where,
                hint="pip install 'relokit[lz4]'"
                if name.startswith("lz4")
                else "this Python was built without it: decompress the kernel and give the Image",
            ) from None

    def _corrupt(self, error: Exception) -> FormatError:
        return FormatError(f"corrupt {self._name} data: {error}", where=self._where)

    def _truncated(self) -> FormatError:
        return FormatError(
            f"truncated: the {self._name} data ends after {len(self._packed)} bytes without its "
            "end mark",
            where=self._where,
            hint="was the download cut short?",
        )


def _given(decoder: Any, chunk: bytes) -> Iterator[bytes]:
    """What ``decoder`` makes of ``chunk``, in pieces where it takes a limit."""
    if not hasattr(decoder, "needs_input"):
        yield decoder.decompress(chunk)
        return
    yield decoder.decompress(chunk, PIECE)
    while not decoder.eof and not decoder.needs_input:
        yield decoder.decompress(b"", PIECE)


def _zstd_parts(frame: memoryview) -> Iterator[int]:
    """Bytes of the header and of each block of a frame (RFC 8878, 3.1.1)."""
    descriptor = frame[4] if len(frame) > 4 else 0
    single = descriptor >> 5 & 1
    content = (single, 2, 4, 8)[descriptor >> 6]
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + content
    yield at
    last = 0
    while not last and at < len(frame):
        head = int.from_bytes(frame[at : at + 3], "little")
        last, is_repeated = head & 1, head >> 1 & 3 == 1
        size = 3 + (1 if is_repeated else head >> 3)
        yield size
        at += size


def skippable(content: memoryview) -> int:
    """Bytes of the frames at the start of ``content`` that are to be skipped."""
    at = 0
    while content[at : at + 1] and bytes(content[at + 1 : at + 4]) == SKIPPED:
        if not 0x50 <= content[at] <= 0x5F:
            break
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if at + 8 + size > len(content):
            break
        at += 8 + size
    return at
