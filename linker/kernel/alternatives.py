"""Words that a kernel replaces in its own text at boot, by what the CPU can do: its alternatives.

A table of entries of 12 bytes says where, and by what (read off the Images of 5.10 to 7.2):

| bytes | what                                                         |
|-------|--------------------------------------------------------------|
| 4     | the words replaced, from this field on                       |
| 4     | the words that replace them, or a function, from this field  |
| 2     | CPU capability; the top bit from 6.1 on: it is a function    |
| 1     | bytes replaced                                               |
| 1     | bytes that replace them: as many, or 0: it is a function     |

Where kallsyms does not name the table, as in 5.10 and 6.1, it is the longest run of such entries:
other data makes runs of a hundred or a thousand, an Image has 14,000 alternatives and more.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from ctypes import c_int, c_int64, c_uint64, c_void_p
from dataclasses import field
from functools import cache
from typing import Any

from relokit.codegen.base import native
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kallsyms import Kallsyms

_FIELDS = struct.Struct("<iiHBB")
ENTRY = _FIELDS.size
TABLE_START = "__alt_instructions"
TABLE_END = "__alt_instructions_end"
TEXT_END = "_einittext"
"""The table comes after the text, init text included."""
CALLBACK_BIT = 1 << 15
MAX_ENTRIES = 1 << 18
"""Shipped kernels have up to 28,000."""
MIN_RUN = 256
"""Entries; a shorter run is something else."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """``size`` bytes at ``place`` that boot may replace; all are bytes and offsets in the Image.

    By the ``replacement_size`` bytes at ``replacement``, or, ``callback`` being true, by what the
    function at ``replacement`` makes of them.
    ``capability`` is the kernel's own number, another one in each version; a callback of 5.10 has
    none, but the number of capabilities there are.
    """

    place: int
    size: int
    replacement: int
    replacement_size: int
    capability: int
    callback: bool


@dataclass(frozen=True, eq=False)
class Alternatives:
    """All alternatives of a kernel, in the order of the table, which is that of applying them.

    A few have no bytes and concern nothing.

    ``start`` and ``end`` are where the table is in the ``image``.
    """

    start: int
    end: int
    image: memoryview = field(repr=False)

    def __len__(self) -> int:
        return (self.end - self.start) // ENTRY

    def within(self, start: int, end: int) -> tuple[Alternative, ...]:
        """Those that replace some of the bytes from ``start`` up to ``end``."""
        return tuple(self._chosen(start, end, brings=False))

    def replacing_from(self, start: int, end: int) -> tuple[Alternative, ...]:
        """Those that bring some of the bytes from ``start`` up to ``end`` elsewhere."""
        return tuple(self._chosen(start, end, brings=True))

    def _chosen(self, start: int, end: int, *, brings: bool) -> Iterator[Alternative]:
        following = _native(
            "alternatives_next", c_uint64, c_void_p, c_uint64, c_uint64, c_int64, c_int64, c_int
        )
        at = self.start
        while True:
            at = following(native.place(self.image), at, self.end, start, end, brings)
            if at >= self.end:
                return
            yield _alternative(self.image, at)
            at += ENTRY


def _alternative(image: memoryview, at: int) -> Alternative:
    place, replacement, capability, size, replacement_size = _FIELDS.unpack_from(image, at)
    return Alternative(
        place=at + place,
        size=size,
        replacement=at + 4 + replacement,
        replacement_size=replacement_size,
        capability=capability & CALLBACK_BIT - 1,
        callback=size > replacement_size,
    )


def read_alternatives(
    image: memoryview, symbols: Kallsyms, *, where: str = "Image"
) -> Alternatives:
    """Read the table out of a whole Image; raises FormatError if it has none that holds."""
    if TABLE_START in symbols and TABLE_END in symbols:
        start, end = symbols.offset(TABLE_START), symbols.offset(TABLE_END)
        if not 0 <= start <= end <= len(image) or start % 4 or (end - start) % ENTRY:
            raise FormatError(
                f"{TABLE_START} to {TABLE_END}, {start:#x} to {end:#x}, is no table in this Image",
                where=where,
            )
    else:
        found = _longest_run(image, symbols.offset(TEXT_END) if TEXT_END in symbols else 0)
        if found is None:
            raise FormatError(
                "no table of boot-time alternatives in this Image",
                where=where,
                hint="it is laid out unlike that of any known kernel",
            )
        start, end = found
    if end - start > ENTRY * MAX_ENTRIES:
        raise FormatError(
            f"{(end - start) // ENTRY} boot-time alternatives, more than {MAX_ENTRIES}", where=where
        )
    check = _native("alternatives_check", c_uint64, c_void_p, c_uint64, c_uint64, c_uint64)
    at = check(native.place(image), len(image), start, end)
    if at < end:
        raise FormatError(
            f"the alternative at {at:#x} names no words of this Image, or not as many for as many",
            where=where,
            hint="the Image is cut off or damaged",
        )
    return Alternatives(start, end, image)


class _EntryRun(ctypes.Structure):
    """``struct entry_run`` of alternatives.c."""

    _fields_ = (("start", c_uint64), ("count", c_uint64))


def _longest_run(image: memoryview, first: int) -> tuple[int, int] | None:
    """Start and end of the longest run of entries from offset ``first`` on, if long enough."""
    search = _native("alternatives_run", _EntryRun, c_void_p, c_uint64, c_uint64)
    found = search(native.place(image), len(image) & ~3, max(first, 0) & ~3)
    if found.count < MIN_RUN:
        return None
    return found.start, found.start + ENTRY * found.count


def _native(name: str, result: Any, *arguments: Any) -> Any:
    _check()
    return native.function(name, result, *arguments)


@cache
def _check() -> None:
    shared = {"ENTRY": ENTRY, "struct entry_run": ctypes.sizeof(_EntryRun)}
    native.check_shared(native.library(), "alternatives_shared", shared)
