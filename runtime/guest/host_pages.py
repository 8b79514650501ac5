"""Host memory under guest RAM: what one guest had filled whole is given to the next one.

The host clears a page before it is touched first: a sixth of the time of a guest that moves
32 MiB, whose scattered pages are written whole anyway. So pages stay, up to a bound, and are
remapped: no byte is copied. Whoever takes them says whether they have to be zero, as new ones.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from threading import Lock
from typing import Any

HOST_PAGE = mmap.PAGESIZE
HUGE_PAGE = 2 << 20  # the host's; one that has none keeps to small ones
MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Linux asm-generic/mman-common.h
# Linux include/uapi/linux/mman.h and asm-generic/mman-common.h.
MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
MADV_HUGEPAGE, MADV_POPULATE_WRITE = 14, 23
KEPT = 128 << 20
"""Bytes that are kept at most: both copies of a payload of 64 MiB."""

_LIBC = ctypes.CDLL(None)
_LIBC.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_LIBC.mremap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p),
)
_LIBC.mremap.restype = ctypes.c_void_p


class _Pool:
    """A stack of huge pages, at the low end of an address range of its own."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._range: mmap.mmap | None = None
        self._base = self._held = 0

    def give(self, start: int, size: int) -> None:
        """Keep what there is room for of ``size`` bytes at ``start``; they are gone from there."""
        with self._lock:
            if not self._range:
                flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
                self._range = mmap.mmap(-1, KEPT + HUGE_PAGE, flags=flags)
                self._base = whole_pages(address_of(self._range), KEPT + HUGE_PAGE, HUGE_PAGE)[0]
            size = min(size, KEPT - self._held)
            if size and _moved(start, size, self._base + self._held):
                self._held += size

    def take(self, start: int, size: int) -> int:
        """Put what there is at ``start``, at most ``size`` bytes; returns how many."""
        with self._lock:
            size = min(size, self._held)
            if not size or not _moved(self._base + self._held - size, size, start):
                return 0
            self._held -= size
            return size


_pool = _Pool()


class HostArea(mmap.mmap):
    """Anonymous memory of so many bytes from ``offset`` on, none of which is there before it is
    touched; that is where a huge page begins.

    What :func:`fill` brought into it goes to the next one when nothing refers to this any more.
    """

    offset: int
    filled: list[tuple[int, int]]
    """Host addresses and bytes of whole huge pages."""

    def __new__(cls, size: int) -> HostArea:
        """Raises OSError or ValueError as the host refuses."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        # For whole huge pages Linux wants room to align them, and finds none where the last area
        # was. An engine is used again for RAM at the same place only, so we do that ourselves.
        area = super().__new__(cls, -1, size + HUGE_PAGE + HOST_PAGE, flags=flags)
        area.offset = whole_pages(address_of(area), len(area), HUGE_PAGE)[0] - address_of(area)
        area.filled = []
        return area

    def __del__(self) -> None:
        for start, size in () if sys.is_finalizing() else self.filled:
            _pool.give(start, size)


def fill(area: HostArea, start: int, size: int, *, zero: bool) -> bool:
    """As :func:`populate`, of bytes of ``area`` that nobody has written to yet.

    They are zero, or, if ``zero`` is not asked for, anything.
    """
    first, length = whole_pages(start, size, HUGE_PAGE)
    if length > 0:
        taken = _pool.take(first, length)
        if taken and zero:
            ctypes.memset(first, 0, taken)
        area.filled.append((first, length))
    return populate(start, size)


def populate(start: int, size: int) -> bool:
    """Back the whole pages of ``size`` bytes at ``start`` with memory, in huge pages if possible.

    False if the host cannot (Linux before 5.14).
    """
    first, length = whole_pages(start, size, HUGE_PAGE)
    if length > 0:
        # A host without such pages refuses, and nothing is lost.
        _LIBC.madvise(first, length, MADV_HUGEPAGE)
    first, length = whole_pages(start, size, HOST_PAGE)
    return not _LIBC.madvise(first, length, MADV_POPULATE_WRITE)


def whole_pages(start: int, size: int, page: int) -> tuple[int, int]:
    """Start and length, in bytes, of the whole pages in ``size`` bytes from ``start`` on."""
    first = -(-start // page) * page
    return first, (start + size) // page * page - first


def address_of(area: Any) -> int:
    """Where a writable buffer is."""
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


def _moved(source: int, size: int, target: int) -> bool:
    """Whether the pages of one mapping were put into another; the first one is empty then."""
    flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP
    # Linux before 5.7 refuses.
    return bool(_LIBC.mremap(source, size, size, flags, target) == target)
