"""Image: placed sections, segments and the symbol table; what runs, and what an ELF holds."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import field
from enum import IntFlag
from functools import cached_property

from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import (
    NO_LINES,
    Binding,
    SectionFlag,
    SectionType,
    SourceLine,
    SourceLines,
    SymbolType,
)

MAX_FLAT = 1 << 30


class SegmentFlag(IntFlag):
    """``p_flags`` (gABI, program header)."""

    X = 1
    W = 2
    R = 4


@dataclass(frozen=True, slots=True)
class PlacedSection:
    """An output section. ``va`` and ``pa`` are its first byte's addresses, ``size`` in bytes.

    ``data`` is empty for NOBITS, and may be a view of guest RAM. A section without
    SectionFlag.ALLOC (notes aside) has va 0.
    ``lines`` says where they are from, by their offset.
    """

    name: str
    va: int
    pa: int
    size: int
    align: int
    type: SectionType
    flags: SectionFlag
    data: bytes | memoryview
    lines: SourceLines = field(default=NO_LINES, repr=False)


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header (``type``: PT_LOAD, PT_NOTE, PT_PHDR) over ``sections``, ascending indices.

    ``head``: bytes of the file that it has in front of its first section, the file's own headers
    and what fills up behind them; they begin at offset ``head_from``. No section holds them.
    """

    name: str
    type: int
    flags: SegmentFlag
    sections: tuple[int, ...]
    align: int
    head: int = 0
    head_from: int = 0


@dataclass(frozen=True, slots=True)
class ImageSymbol:
    """A symbol at its final address. ``section`` indexes Image.sections, -1 undefined, -2 ABS."""

    name: str
    value: int
    size: int
    binding: Binding
    type: SymbolType
    section: int


@dataclass(frozen=True)
class Image:
    """A linked program (or a shipped kernel's piece of one)."""

    name: str
    sections: tuple[PlacedSection, ...]
    segments: tuple[Segment, ...]
    symbols: tuple[ImageSymbol, ...]
    entry: int

    def symbol(self, name: str) -> int:
        """Value (VA) of a symbol; raises KeyError naming it."""
        return self._by_name[name].value

    def has_symbol(self, name: str) -> bool:
        """Whether the symbol table defines ``name``."""
        return name in self._by_name

    def section_at(self, va: int) -> PlacedSection | None:
        """The allocated section that holds VA ``va``, if any."""
        for section in self._allocated:
            if section.va <= va < section.va + section.size:
                return section
        return None

    def read(self, va: int, size: int) -> bytes:
        """``size`` bytes at VA ``va``, within one section; raises KeyError if not there."""
        section = self.section_at(va)
        if section is None or va + size > section.va + section.size:
            raise KeyError(f"no {size} bytes at {va:#x} in {self.name}")
        if section.type is SectionType.NOBITS:
            return bytes(size)
        return bytes(section.data[va - section.va : va - section.va + size])

    def line_at(self, va: int) -> SourceLine | None:
        """The source line that emitted the bytes at VA ``va``, if known."""
        section = self.section_at(va)
        return None if section is None else section.lines.at(va - section.va)

    def symbol_at(self, va: int) -> tuple[str, int] | None:
        """Nearest named address at or below ``va`` in its section, with the distance in bytes."""
        section = self.section_at(va)
        if section is None:
            return None
        at = bisect_right(self._by_value, va, key=lambda symbol: symbol.value) - 1
        if at < 0 or self._by_value[at].value < section.va:
            return None
        return self._by_value[at].name, va - self._by_value[at].value

    @cached_property
    def flat(self) -> bytes:
        """What a boot loader copies to memory, like objcopy -O binary.

        The bytes from the lowest to the highest loaded PA; gaps are zero, NOBITS is left out.
        Raises LinkError if that spans more than 1 GiB.
        """
        loaded = [
            section
            for section in self.sections
            if section.flags & SectionFlag.ALLOC
            and section.type is not SectionType.NOBITS
            and section.size
        ]
        if not loaded:
            return b""
        base = min(section.pa for section in loaded)
        end = max(section.pa + section.size for section in loaded)
        if end - base > MAX_FLAT:
            raise LinkError(
                f"{self.name}: its sections span {end - base:#x} bytes",
                hint="place them closer together in the ld script",
            )
        spend(2 * (end - base), "flat images", self.name)
        flat = bytearray(end - base)
        for section in loaded:
            flat[section.pa - base : section.pa - base + section.size] = section.data
        return bytes(flat)

    @cached_property
    def _allocated(self) -> tuple[PlacedSection, ...]:
        # Once: to look into flags costs more than all the rest.
        return tuple(section for section in self.sections if section.flags & SectionFlag.ALLOC)

    @cached_property
    def _by_value(self) -> list[ImageSymbol]:
        """Named addresses, ascending; of one address the name that tells most."""
        best: dict[int, ImageSymbol] = {}
        for symbol in self.symbols:
            if symbol.section < 0 or symbol.name.startswith("$"):
                continue
            known = best.get(symbol.value)
            if known is None or _tells_more(symbol, known):
                best[symbol.value] = symbol
        return sorted(best.values(), key=lambda symbol: symbol.value)

    @cached_property
    def _by_name(self) -> dict[str, ImageSymbol]:
        return {symbol.name: symbol for symbol in reversed(self.symbols)}


def _tells_more(symbol: ImageSymbol, other: ImageSymbol) -> bool:
    """Whether ``symbol`` is the better name of an address: a routine where the other is a bound."""
    return symbol.type is SymbolType.FUNC and other.type is not SymbolType.FUNC
