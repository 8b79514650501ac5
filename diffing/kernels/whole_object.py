"""An Object, such as a module, as a program: placed, and related to what it needs of others."""

from __future__ import annotations

from relokit.codegen.aarch64_elf import RelocationType
from relokit.codegen.base.bits import round_up
from relokit.codegen.object import Object, SectionFlag, SectionType, SymbolType
from relokit.diffing.read.routine import DiffError
from relokit.linker.image import Image, ImageSymbol, PlacedSection
from relokit.linker.link.relocate import RelocationError, relocate

BASE = 1 << 20
MAX_PLACED = 64 << 20
"""Bytes of all sections: a call from one end to the other is in reach."""
CALLED, TAKEN = 16, 1 << 16
"""Bytes from one symbol of others to the next, of those that are called, and of those that more is
done with; a place that far from one is still called by it."""
MAX_TAKEN = 1 << 14
_CALLS = RelocationType.CALL26, RelocationType.JUMP26


def placed_object(unit: Object, path: str) -> Image:
    """``unit`` as an Image, its sections one after the other, code first.

    What others define has addresses behind it all. Raises DiffError for what is too large or has
    relocations that are not known.
    """
    order = _order(unit)
    places: dict[int, int] = {}
    at = BASE
    for number in order:
        places[number] = at = round_up(at, max(unit.sections[number].align, 8))
        at += unit.sections[number].size
    if at > BASE + MAX_PLACED:
        raise DiffError(f"has more than {MAX_PLACED >> 20} MiB to place", where=path)
    addresses, end = _addresses(unit, places, round_up(at, TAKEN), path)
    numbers = {number: index for index, number in enumerate(order)}
    sections = [_placed(unit, number, places[number], addresses, path) for number in order]
    beyond = len(sections)
    start = round_up(at, TAKEN)
    sections.append(
        PlacedSection(
            "others", start, start, end - start, 1, SectionType.NOBITS, SectionFlag.ALLOC, b""
        )
    )
    symbols = (
        ImageSymbol(
            one.name, address, one.size, one.binding, one.type,
            numbers.get(one.section, beyond if one.section < 0 else -1),
        )
        for one, address in zip(unit.symbols, addresses, strict=True)
    )  # fmt: skip
    return Image(path, tuple(sections), (), tuple(one for one in symbols if one.section >= 0), 0)


def placed_distances(unit: Object, placed: Image) -> list[tuple[int, int]]:
    """Where 32-bit distances are in ``placed``, ascending, and what they lead to: VAs.

    LLVM counts those of a table from its start, and has that in the addend; of a symbol's distance
    it is the symbol. A section's symbol says nothing without the addend.
    """
    places = dict(zip(_order(unit), (section.va for section in placed.sections), strict=False))
    found = []
    for number, place in places.items():
        for one in unit.sections[number].relocations:
            symbol = unit.symbols[one.symbol]
            if one.type == RelocationType.PREL32 and symbol.section in places:
                to = places[symbol.section] + symbol.value
                addend = one.addend if symbol.type is SymbolType.SECTION else 0
                found.append((place + one.offset, to + addend))
    return sorted(found)


def _order(unit: Object) -> list[int]:
    return sorted(
        (n for n, one in enumerate(unit.sections) if one.flags & SectionFlag.ALLOC),
        key=lambda n: not unit.sections[n].flags & SectionFlag.EXEC,
    )


def _addresses(
    unit: Object, places: dict[int, int], beyond: int, path: str
) -> tuple[list[int], int]:
    """The VA of each symbol, and where the last one of others ends."""
    taken = {
        one.symbol
        for section in unit.sections
        for one in section.relocations
        if one.type not in _CALLS
    }
    outside = [n for n, one in enumerate(unit.symbols) if one.section not in places]
    if sum(number in taken for number in outside) > MAX_TAKEN:
        raise DiffError(f"refers to more than {MAX_TAKEN} symbols of others", where=path)
    addresses = [places.get(one.section, 0) + one.value for one in unit.symbols]
    at = beyond
    for number in sorted(outside, key=lambda number: number in taken):
        addresses[number] = at
        at += TAKEN if number in taken else CALLED
    return addresses, at


def _placed(
    unit: Object, number: int, place: int, addresses: list[int], path: str
) -> PlacedSection:
    section = unit.sections[number]
    data = bytearray(section.data)
    for one in section.relocations:
        if section.type is SectionType.NOBITS:
            break
        try:
            symbol = addresses[one.symbol]
            relocate(data, one.offset, one.type, symbol, one.addend, place + one.offset)
        except RelocationError as error:
            raise DiffError(
                f"{section.name}+{one.offset:#x}: {error}",
                where=path,
                hint="leave --all out: what its routines refer to is then compared by name",
            ) from None
    return PlacedSection(
        section.name, place, place, section.size, section.align, section.type, section.flags,
        bytes(data),
    )  # fmt: skip
