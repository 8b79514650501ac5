"""The data of a shipped kernel: what of it is constant, and the pointers in it that boot fills in.

Source of the order of a kernel's sections: arch/arm64/kernel/vmlinux.lds.S as far as its symbols
tell: text, _etext, constant data, __init_begin, what boot needs, the rest of the data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from ctypes import c_uint64, c_void_p
from functools import cache

from relokit.codegen.base import native
from relokit.codegen.base.bits import MASK64
from relokit.diffing.read.data import NO_DATA, Area, SideData
from relokit.diffing.read.extents import TYPE_HASH
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.pointers import RELATIVE

CONSTANT = "_etext", "__init_begin"
"""Names of where constant data begins and ends; page tables of the kernel itself end it."""
BOOT_CODE = "_sinittext", "_einittext"
LEAST_NAMED = 16
"""Variables with a name in a kernel in which all have one, by CONFIG_KALLSYMS_ALL."""
CODE_LETTERS = "tTwW"
_FIRST_SYMBOLS = 64
"""By so many distances the table of symbols is recognised."""


def constant_ranges(content: memoryview, symbols: Kallsyms) -> list[tuple[int, int]]:
    """Offsets from which to which a kernel has constant data, ascending; none, if it does not say.

    Its own table of where its symbols are is left out: it says no more than that code has moved.
    """
    if not all(name in symbols for name in CONSTANT):
        return []
    start, end = (symbols.offset(name) for name in CONSTANT)
    end = min(end, len(content))
    if not 0 <= start < end:
        return []
    at, after = _symbol_places(content[start:end], symbols)
    if at == after:
        return [(start, end)]
    return [(start, start + at), (start + after, end)]


def _symbol_places(content: memoryview, symbols: Kallsyms) -> tuple[int, int]:
    """Where in ``content`` the distances of all symbols from the first byte are, if they are."""
    first = symbols.offsets[:_FIRST_SYMBOLS]
    if min(first, default=-1) < 0 or len(first) < _FIRST_SYMBOLS:
        return 0, 0
    at = bytes(content).find(struct.pack(f"<{len(first)}I", *first))
    return (at, min(at + 4 * len(symbols), len(content))) if at >= 0 else (0, 0)


def with_pointers(image: memoryview, base: int) -> memoryview:
    """``image``, linked at VA ``base``, with the addresses in it that its own relocations hold.

    A kernel that may be placed anywhere has zero where a pointer belongs, and a table of places
    and addresses, by which boot fills them in.
    """
    fill = native.function(
        "pointers_fill", c_uint64, c_void_p, c_uint64, c_uint64, c_uint64, c_void_p
    )
    content = native.place(image), len(image), RELATIVE, base & MASK64
    if not fill(*content, None):
        return image
    filled = bytearray(image)
    fill(*content, native.place(filled))
    return memoryview(filled)


class _Filled:
    """The bytes of an Image with the pointers in it, from an offset on: made when one is needed."""

    def __init__(self, filled: Callable[[], memoryview], start: int) -> None:
        self._filled, self._start = filled, start

    def __getitem__(self, part: slice, /) -> memoryview:
        start, stop = (self._start + place for place in (part.start, part.stop))
        return self._filled()[start:stop]


def _boot_code(symbols: Kallsyms) -> list[tuple[int, int]]:
    """Where the code is that only boot runs."""
    if not all(name in symbols for name in BOOT_CODE):
        return []
    start, end = (symbols.offset(name) & ~3 for name in BOOT_CODE)
    return [(start, end)] if 0 <= start < end else []


class _Variables:
    """Symbols of a kernel's data, from offset ``first`` on: DataSymbols."""

    def __init__(self, symbols: Kallsyms, first: int, end: int) -> None:
        self._symbols, self._first, self._end = symbols, first, end

    def holding(self, address: int) -> tuple[int, int, str] | None:
        """As DataSymbols; kallsyms knows no sizes."""
        at = address - self._symbols.link_base
        if not self._first <= at < self._end:
            return None
        known = self._symbols.within(at, at + 1)
        names = [name for name, letter, _ in known if letter not in CODE_LETTERS]
        return (address, 0, names[-1]) if names else None

    def edges(self) -> Iterator[int]:
        """As DataSymbols."""
        symbols = self._symbols
        for at, letter in zip(symbols.offsets, symbols.types, strict=True):
            if letter not in CODE_LETTERS and self._first <= at < self._end:
                yield symbols.link_base + at


def kernel_data(
    image: memoryview, symbols: Kallsyms, size: int = 0, hashes: Iterable[int] = ()
) -> SideData:
    """The data of a kernel, which takes ``size`` bytes in memory, or just its Image's, and has
    hashes of functions' types at these offsets. It is only read, and its code only searched for
    references, when that matters.
    """
    base = symbols.link_base
    ranges = constant_ranges(image, symbols)
    types = [Area("type hash", base + at, TYPE_HASH, image[at : at + TYPE_HASH]) for at in hashes]
    if not ranges:
        return SideData(types) if types else NO_DATA
    filled = cache(lambda: with_pointers(image, base))
    # Nothing is said of code: what is in front of the first range.
    first = ranges[0][0]
    edges = [edge for one in ranges for edge in one]
    end = max(len(image), size)
    areas = [
        Area("constant data", base + start, end - start, _Filled(filled, start))
        for start, end in ranges
    ]
    areas += [
        *types,
        *(
            Area("data", base + start, end - start, _Filled(filled, start), writable=True)
            for start, end in zip(edges[1::2], [*edges[2::2], end], strict=True)
        ),
    ]

    def references() -> Iterator[int]:
        from relokit.diffing.read.references import data_references, pointers_within

        for start, end in [(0, first), *_boot_code(symbols)]:
            yield from data_references(image[start:end], base + start)
        yield from (base + offset for offset in pointers_within(filled(), base)[1].tolist())

    return SideData(
        areas,
        references=references,
        table=_Variables(symbols, first, end),
        named=symbols.letters.count(b"b") >= LEAST_NAMED,
    )
