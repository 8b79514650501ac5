"""What the segments hold, put into scattered pages, and compared where it should arrive.

Work goes chunk by chunk (a few MiB: it stays in the host's cache), each chunk in a few numpy
operations, so speed is that of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.guest.memory import Bytes, GuestMemory, Words

CHUNK = 1 << 19
BLOCK = 4096  # granularity of the pattern: no page is smaller
BLOCK_WORDS = BLOCK // 8

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) after every chunk."""


class Content(Protocol):
    """``size`` bytes that can be read from anywhere."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, out: Bytes) -> None:
        """Fill ``out`` with the bytes from ``offset`` on; both lie within ``size``."""


@dataclass(frozen=True, eq=False)
class BytesContent:
    """Content that is in memory already."""

    data: bytes | bytearray | memoryview

    @property
    def size(self) -> int:
        """Bytes of content."""
        return memoryview(self.data).nbytes

    def read(self, offset: int, out: Bytes) -> None:
        """See :class:`Content`."""
        out[:] = np.frombuffer(self.data, dtype=np.uint8)[offset : offset + len(out)]


class PatternContent:
    """``size`` bytes that say where they belong: no two 4 KiB blocks are alike.

    A block is a fixed table of hashed words, XORed with a hash of the block's number; so a
    misplaced page, a misplaced line within a page and a flipped bit all show. Depends on
    ``seed`` and nothing else.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        if size < 0:
            raise MachineError(f"a payload of {size} bytes")
        self.size = size
        self._seed = np.uint64(seed & MASK64)
        self._table = hashed(np.arange(BLOCK_WORDS, dtype=np.uint64) + self._seed)

    def read(self, offset: int, out: Bytes) -> None:
        """See :class:`Content`."""
        first = offset // BLOCK
        count = -(-(offset + len(out)) // BLOCK) - first
        numbers = np.arange(first, first + count, dtype=np.uint64)
        keys = hashed((numbers << np.uint64(32)) ^ ~self._seed)
        skip = offset - first * BLOCK
        if skip == 0 and len(out) % BLOCK == 0 and out.flags.c_contiguous:
            rows = out.view(np.uint64).reshape(count, BLOCK_WORDS)
            np.bitwise_xor(self._table, keys[:, None], out=rows)
        else:
            blocks = (self._table ^ keys[:, None]).reshape(-1).view(np.uint8)
            out[:] = blocks[skip : skip + len(out)]


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
    rows = memory.pages(page_size)
    at = _rows_of(memory, pages, page_size)
    for offset, chunk in _chunks(content, total):
        first = offset // page_size
        rows[at[first : first + len(chunk) // page_size]] = chunk.reshape(-1, page_size)
        if progress:
            progress(offset + len(chunk), total)


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
    bad_pages = 0
    first: Mismatch | None = None
    for offset, expected in _chunks(content, total):
        got = arrived[offset : offset + len(expected)]
        differs = got.view(np.uint64) != expected.view(np.uint64)
        if differs.any():
            bad_pages += int(differs.reshape(-1, page_size // 8).any(axis=1).sum())
            if first is None:
                at = int((got != expected).argmax())
                first = Mismatch(offset + at, int(expected[at]), int(got[at]))
        if progress:
            progress(offset + len(expected), total)
    return Verification(pages, bad_pages, first)


def _chunks(content: Content, total: int) -> Iterator[tuple[int, Bytes]]:
    """``(offset, bytes)`` of the content and the zeros after it, in a buffer that is reused.

    Chunks are whole pages, whatever the page size: CHUNK is a multiple of all of them.
    """
    buffer = np.empty(min(CHUNK, total), dtype=np.uint8)
    for offset in range(0, total, CHUNK):
        chunk = buffer[: min(CHUNK, total - offset)]
        filled = min(max(0, content.size - offset), len(chunk))
        if filled:
            content.read(offset, chunk[:filled])
        chunk[filled:] = 0
        yield offset, chunk


def _rows_of(memory: GuestMemory, pages: Words, page_size: int) -> NDArray[np.intp]:
    """Row of each page in ``memory.pages``; refuses what is not a page of RAM."""
    offset = pages - np.uint64(memory.base)  # wraps for PAs below RAM: too large, then
    row = offset // page_size
    bad = (offset % page_size != 0) | (row >= memory.size // page_size)
    bad |= memory.absent(pages, page_size)
    if bad.any():
        pa = int(pages[int(bad.argmax())])
        raise MachineError(f"PA {pa:#x} is not a {page_size:#x}-byte page of RAM")
    return row.astype(np.intp)
