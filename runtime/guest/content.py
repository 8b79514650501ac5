"""What the segments hold, put into scattered pages, and compared where it should arrive.

Natively, in one pass over memory each, and piece by piece where somebody watches the progress.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base import native
from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.guest.memory import Bytes, GuestMemory, Words

PIECE = 1 << 22
"""Bytes between two words of progress: whole pages, whatever their size."""
BLOCK = 4096
"""Granularity of the pattern, in bytes: no page is smaller."""

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) after every piece."""


class _NativeContent(ctypes.Structure):
    """``struct content``."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("bytes", "size", "table", "keys"))


class _Compared(ctypes.Structure):
    """``struct compared``."""

    _fields_ = (("bad_pages", ctypes.c_uint64), ("first", ctypes.c_uint64))
    bad_pages: int
    first: int


_library: Any = native.library()
native.check_shared(
    _library,
    "content_shared",
    {
        "BLOCK": BLOCK,
        "struct content": ctypes.sizeof(_NativeContent),
        "struct compared": ctypes.sizeof(_Compared),
    },
)
_ADDRESS, _NUMBER = ctypes.c_void_p, ctypes.c_uint64
for _function, _arguments in (
    ("content_read", (_ADDRESS, _NUMBER, _ADDRESS, _NUMBER)),
    ("content_scatter", (_ADDRESS, _NUMBER, _ADDRESS, _ADDRESS, _NUMBER, _NUMBER)),
    ("content_compare", (_ADDRESS, _NUMBER, _ADDRESS, _NUMBER, _NUMBER, _ADDRESS)),
):
    getattr(_library, _function).argtypes = _arguments
    getattr(_library, _function).restype = None


class Content:
    """``size`` bytes that can be read from anywhere, with zeros after them."""

    def __init__(self, size: int, **arrays: NDArray[Any]) -> None:
        self.size = size
        # What C is given the addresses of must live as long.
        self._arrays = arrays
        addresses = {name: array.ctypes.data for name, array in arrays.items()}
        self._given = _NativeContent(size=size, **addresses)

    @property
    def without_zeros(self) -> int:
        """Bytes from the start on, a multiple of 8, that new RAM cannot be taken for."""
        return 0

    @property
    def native(self) -> int:
        """Address of the ``struct content``, for as long as this lives."""
        return ctypes.addressof(self._given)

    def let_go(self, offset: int, size: int) -> None:
        """Nobody reads these bytes soon: what can be had again need not be held."""

    def read(self, offset: int, out: Bytes) -> None:
        """Fill ``out`` with the bytes from ``offset`` on."""
        read = np.empty(len(out), np.uint8)
        _library.content_read(self.native, offset, read.ctypes.data, len(read))
        out[:] = read


class BytesContent(Content):
    """Content that is in memory already, as ``data``."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = data
        # One more, as nothing at all has no address.
        given = np.frombuffer(data or b"\0", dtype=np.uint8)
        super().__init__(memoryview(data).nbytes, bytes=given)


class FileContent(BytesContent):
    """What the host has in ``file``, of which no more is held at a time than a piece."""

    def __init__(self, file: HostFile) -> None:
        super().__init__(file.content)
        self._file = file

    def let_go(self, offset: int, size: int) -> None:
        """See Content."""
        self._file.let_go(offset, size)


class PatternContent(Content):
    """``size`` bytes that say where they belong: no two 4 KiB blocks are alike.

    A block is a fixed table of hashed words, XORed with a hash of the block's number; so a
    misplaced page, a misplaced line within a page and a flipped bit all show. Depends on
    ``seed`` and nothing else. ``hollow``: the first word is 0, and no other: whoever looks at that
    alone takes it for a page of zeros.
    """

    def __init__(self, size: int, seed: int = 0, *, hollow: bool = False) -> None:
        if size < 0:
            raise MachineError(f"a payload of {size} bytes")
        start = np.uint64(seed & MASK64)
        numbers = np.arange(-(-size // BLOCK), dtype=np.uint64)
        table = hashed(np.arange(BLOCK // 8, dtype=np.uint64) + start)
        keys = hashed((numbers << np.uint64(32)) ^ ~start)
        if hollow:
            keys[:1] = table[0]
        super().__init__(size, table=table, keys=keys)
        self._hollow = hollow

    @property
    def without_zeros(self) -> int:
        """See Content."""
        return 0 if self._hollow else self.size & -8


def hashed(words: Words) -> Words:
    """A 64-bit mixing function, element by element: every input bit moves every output bit."""
    mixed = words * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((32, 0xD6E8FEB86659FD93), (29, 0xFF51AFD7ED558CCD)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    result: Words = mixed ^ (mixed >> np.uint64(32))
    return result


def scatter_into(
    memory: GuestMemory,
    pages: Words,
    page_size: int,
    content: Content,
    progress: Progress | None = None,
) -> None:
    """Store ``content`` page by page at the PAs ``pages``; what is left of them becomes zero.

    Raises MachineError if a page is not a page of RAM, or the pages are too few.
    """
    total = len(pages) * page_size
    if content.size > total:
        raise MachineError(
            f"{content.size:#x} bytes of content for {len(pages)} pages of {page_size:#x} bytes"
        )
    rows = _rows_of(memory, pages, page_size)
    for first, count in _pieces(len(pages), page_size):
        _library.content_scatter(
            content.native,
            first * page_size,
            memory.address,
            rows[first:].ctypes.data,
            count,
            page_size,
        )
        content.let_go(first * page_size, count * page_size)
        if progress:
            progress((first + count) * page_size, total)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first wrong byte: ``offset`` into the content, what it should be and what it is."""

    offset: int
    expected: int
    got: int


@dataclass(frozen=True, slots=True)
class Verification:
    """``bad_pages`` of ``pages`` differ; ``first`` is None if none does."""

    pages: int
    bad_pages: int
    first: Mismatch | None

    @property
    def ok(self) -> bool:
        """Whether every byte is right."""
        return self.first is None


def verify(
    memory: GuestMemory,
    dest_pa: int,
    memsz: int,
    page_size: int,
    content: Content,
    progress: Progress | None = None,
) -> Verification:
    """Compare ``memsz`` bytes at PA ``dest_pa``, rounded up to pages, with ``content``, then zeros.

    Raises MachineError if that is not all RAM, or too small for the content.
    """
    pages = -(-memsz // page_size)
    total = pages * page_size
    if content.size > total:
        raise MachineError(f"{content.size:#x} bytes of content to find in {total:#x} bytes")
    arrived = memory.view(dest_pa, total)
    compared = _Compared()
    for at, count in _pieces(pages, page_size):
        done = at * page_size
        _library.content_compare(
            content.native,
            done,
            arrived.ctypes.data + done,
            count,
            page_size,
            ctypes.addressof(compared),
        )
        content.let_go(done, count * page_size)
        if progress:
            progress(done + count * page_size, total)
    first = _first_byte(content, arrived, compared.first) if compared.bad_pages else None
    return Verification(pages, compared.bad_pages, first)


def _first_byte(content: Content, arrived: Bytes, block: int) -> Mismatch:
    """The first wrong byte of the block at offset ``block``."""
    expected = np.empty(BLOCK, np.uint8)
    content.read(block, expected)
    got = arrived[block : block + BLOCK]
    at = int((got != expected).argmax())
    return Mismatch(block + at, int(expected[at]), int(got[at]))


def _pieces(pages: int, page_size: int) -> Iterator[tuple[int, int]]:
    """``(first, count)`` of the pages of each piece."""
    step = PIECE // page_size
    return ((first, min(step, pages - first)) for first in range(0, pages, step))


def _rows_of(memory: GuestMemory, pages: Words, page_size: int) -> Words:
    """Row of each page in ``memory.pages``; refuses what is not a page of RAM."""
    offset = pages - np.uint64(memory.base)  # wraps for PAs below RAM: too large, then
    row = offset // page_size
    bad = (offset % page_size != 0) | (row >= memory.size // page_size)
    bad |= memory.absent(pages, page_size)
    if bad.any():
        pa = int(pages[int(bad.argmax())])
        raise MachineError(f"PA {pa:#x} is not a {page_size:#x}-byte page of RAM")
    return np.ascontiguousarray(row, dtype=np.uint64)
