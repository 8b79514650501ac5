"""The data of a shipped kernel: what of it is constant, and the pointers in it that boot fills in.

Source of the order of a kernel's sections: arch/arm64/kernel/vmlinux.lds.S as far as its symbols
tell: text, _etext, constant data, __init_begin, what boot needs, the rest of the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.nouns import dataclass
from relokit.diffing.read.data import Area, SideData
from relokit.linker.kernel.kallsyms import Kallsyms

if TYPE_CHECKING:
    from collections.abc import Iterator

CONSTANT = "_etext", "__init_begin"
"""Names of where constant data begins and ends; page tables of the kernel itself end it."""
RELATIVE = 0x403
"""R_AARCH64_RELATIVE: base plus addend (AAELF64, "Dynamic relocations")."""
CODE_LETTERS = "tTwW"
_RECORD = 3
"""Words of 64 bits in a relocation with an addend: place, kind, addend."""


@dataclass(frozen=True, slots=True)
class Constants:
    """Offsets in a program of its constant data, from ``start`` up to ``end``."""

    start: int
    end: int


def constants_of(symbols: Kallsyms, size: int) -> Constants:
    """Where a kernel of ``size`` bytes has its constant data; nowhere, if it does not say."""
    if not all(name in symbols for name in CONSTANT):
        return Constants(0, 0)
    start, end = (symbols.offset(name) for name in CONSTANT)
    return Constants(max(start, 0), min(end, size)) if 0 <= start < end else Constants(0, 0)


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


def kernel_data(image: memoryview, symbols: Kallsyms) -> SideData:
    """The data of a kernel; its code is only searched for references when that matters."""
    base, size = symbols.link_base, len(image)
    known = constants_of(symbols, size)
    if not known.end:
        return SideData([Area("data", base, size, image, writable=True)], whole=False)

    def references() -> Iterator[int]:
        from relokit.diffing.read.references import data_references

        yield from data_references(image[: known.start], base)

    content = with_pointers(image, base)
    return SideData(
        [
            Area(
                "constant data", base + known.start, known.end - known.start,
                content[known.start : known.end],
            ),
            Area("data", base + known.end, size - known.end, content[known.end :], writable=True),
        ],
        (
            (base + at, 0, name)
            for at, name, letter in zip(symbols.offsets, symbols.names, symbols.types, strict=True)
            if letter not in CODE_LETTERS and at >= known.start
        ),
        references=references,
    )  # fmt: skip
