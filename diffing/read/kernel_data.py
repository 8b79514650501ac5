"""The data of a shipped kernel: what of it is constant, and the pointers in it that boot fills in.

Source of the order of a kernel's sections: arch/arm64/kernel/vmlinux.lds.S as far as its symbols
tell: text, _etext, constant data, __init_begin, what boot needs, the rest of the data.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from relokit.codegen.base.bits import MASK64
from relokit.diffing.read.data import NO_DATA, Area, SideData
from relokit.linker.kernel.kallsyms import Kallsyms

if TYPE_CHECKING:
    from collections.abc import Iterator

CONSTANT = "_etext", "__init_begin"
"""Names of where constant data begins and ends; page tables of the kernel itself end it."""
BOOT_CODE = "_sinittext", "_einittext"
RELATIVE = 0x403
"""R_AARCH64_RELATIVE: base plus addend (AAELF64, "Dynamic relocations")."""
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


def with_pointers(image: bytes | memoryview, base: int) -> memoryview:
    """``image``, linked at VA ``base``, with the addresses in it that its own relocations hold.

    A kernel that may be placed anywhere has zero where a pointer belongs, and a table of places
    and addresses, by which boot fills them in.
    """
    import numpy as np

    content = np.frombuffer(image, np.uint8)
    words = content[: len(content) & ~7].view("<u8")
    at = np.flatnonzero(words[1:-1] == RELATIVE) + 1
    first, last = np.uint64(base & MASK64), np.uint64(base + len(content) & MASK64)
    places, values = words[at - 1], words[at + 1]
    inside = (places >= first) & (places < last - np.uint64(7)) & (places & np.uint64(7) == 0)
    inside &= values >= first
    if not inside.any():
        return memoryview(image)
    filled = content.copy()
    filled[: len(content) & ~7].view("<u8")[((places[inside] - first) >> np.uint64(3))] = values[
        inside
    ]
    return filled.data


def _boot_code(symbols: Kallsyms) -> list[tuple[int, int]]:
    """Where the code is that only boot runs."""
    if not all(name in symbols for name in BOOT_CODE):
        return []
    start, end = (symbols.offset(name) & ~3 for name in BOOT_CODE)
    return [(start, end)] if 0 <= start < end else []


def kernel_data(image: memoryview, symbols: Kallsyms) -> SideData:
    """The data of a kernel; its code is only searched for references when that matters."""
    base = symbols.link_base
    content = with_pointers(image, base)
    ranges = constant_ranges(content, symbols)
    if not ranges:
        return NO_DATA
    # Nothing is said of code: what is in front of the first range.
    first = ranges[0][0]
    edges = [edge for one in ranges for edge in one]
    areas = [
        Area("constant data", base + start, end - start, content[start:end])
        for start, end in ranges
    ]
    areas += [
        Area("data", base + start, end - start, content[start:end], writable=True)
        for start, end in zip(edges[1::2], [*edges[2::2], len(image)], strict=True)
    ]

    def references() -> Iterator[int]:
        from relokit.diffing.read.references import data_references, pointer_targets

        for start, end in [(0, first), *_boot_code(symbols)]:
            yield from data_references(image[start:end], base + start)
        yield from (base + offset for offset in pointer_targets(content, base).tolist())

    return SideData(
        areas,
        (
            (base + at, 0, name)
            for at, name, letter in zip(symbols.offsets, symbols.names, symbols.types, strict=True)
            if letter not in CODE_LETTERS and at >= first
        ),
        references=references,
        named=symbols.types.count("b") >= LEAST_NAMED,
    )
