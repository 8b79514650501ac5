"""A linked Image or an Object as a Side: its routines, where they are, what they refer to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from relokit.codegen.aarch64_elf import RelocationType
from relokit.codegen.facts import RELOCATION
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.object import (
    Binding,
    Object,
    Section,
    SectionFlag,
    SourceLine,
    SymbolType,
)
from relokit.diffing.read.routine import (
    MAX_ROUTINE,
    MAX_ROUTINES,
    DiffError,
    Extent,
    Names,
    Routine,
    Side,
)
from relokit.diffing.read.untyped import Place, branch_targets, untyped_routines
from relokit.linker.image import Image

V = TypeVar("V")

GETS_KIMAGE = frozenset({RELOCATION, "machine_kexec", "machine_kexec_post_load"})
"""Routines whose first argument is a struct kimage."""

MAX_TOTAL = 1 << 24
"""Bytes of all routines of one side; overlapping ones count each."""
_NAME_ONE = "name one of them: FILE:symbol"

SECTION_GAP = 1 << 32
"""Distance of the VAs that the sections of an object are compared at: no reference spans it."""

# What the value of a relocated field is the address of.
_REFERRING = frozenset(
    {
        RelocationType.LD_PREL_LO19,
        RelocationType.ADR_PREL_LO21,
        RelocationType.ADR_PREL_PG_HI21,
        RelocationType.ADR_PREL_PG_HI21_NC,
        RelocationType.ADD_ABS_LO12_NC,
        RelocationType.TSTBR14,
        RelocationType.CONDBR19,
        RelocationType.JUMP26,
        RelocationType.CALL26,
        RelocationType.LDST8_ABS_LO12_NC,
        RelocationType.LDST16_ABS_LO12_NC,
        RelocationType.LDST32_ABS_LO12_NC,
        RelocationType.LDST64_ABS_LO12_NC,
        RelocationType.LDST128_ABS_LO12_NC,
    }
)


def image_side(
    image: Image,
    name: str,
    *,
    layout: KimageLayout | None = None,
    readers: frozenset[str] = frozenset(),
    named: Iterable[tuple[int, str]] = (),
    wanted: str | None = None,
    data: bool = False,
    content: Callable[[int, int], bytes | memoryview] | None = None,
) -> Side:
    """The routines of ``image``, or the one that is ``wanted``; its sized objects if ``data``.

    ``readers`` get a struct kimage, ``named`` are more addresses with names, ``content`` gives
    bytes at an address if those of ``image`` are not all.
    """
    places: list[Place] = []
    objects: list[Place] = []
    labels: list[Place] = []
    addresses = list(named)
    code = [index for index, one in enumerate(image.sections) if one.flags & SectionFlag.EXEC]
    referred: set[int] = set()
    for symbol in image.symbols:
        if symbol.section < 0 or not _is_name(symbol.name):
            continue
        place = symbol.section, symbol.value, symbol.size, symbol.name
        if symbol.type is SymbolType.FUNC or symbol.type is SymbolType.OBJECT:
            addresses.append((symbol.value, symbol.name))
        if symbol.type is SymbolType.FUNC:
            places.append(place)
        elif symbol.type is SymbolType.OBJECT and data and symbol.size >= 4:
            objects.append(place)
        elif symbol.type is SymbolType.NOTYPE and symbol.section in code:
            labels.append(place)
            if symbol.binding is not Binding.LOCAL:
                referred.add(symbol.value)
    if labels:
        for index in code:
            section = image.sections[index]
            referred |= branch_targets(section.data, section.va)
        untyped = untyped_routines(places, labels, referred)
        addresses += [(address, label) for _, address, _, label in untyped]
        places += untyped
    places += objects
    data_names = {place[3] for place in objects}
    routines: dict[str, Routine] = {}
    for index, address, size, symbol_name in _extents(
        places, {i: s.va + s.size for i, s in enumerate(image.sections)}, wanted
    ):
        section = image.sections[index]
        start = address - section.va
        executable = section.flags & SectionFlag.EXEC or symbol_name in data_names
        if not executable or start < 0:
            continue
        words = bytes(section.data[start : start + size])
        if words and len(words) == size:
            found = Routine(
                symbol_name,
                address,
                words,
                kimage_argument=symbol_name in readers,
                section=section.name,
                lines=_lines(section.lines, start, size),
                data=symbol_name in data_names,
            )
            routines.setdefault(symbol_name, found)
    extents = [
        Extent(section.name, section.va, section.size)
        for section in image.sections
        if section.flags & SectionFlag.EXEC
    ]

    def own_content(address: int, size: int) -> bytes | memoryview:
        section = image.section_at(address)
        start = address - section.va if section else 0
        return section.data[start : start + size] if section else b""

    names = Names(addresses, content or own_content)
    return Side(name, routines, names, layout, sections=tuple(extents))


def object_side(unit: Object, name: str, *, wanted: str | None = None) -> Side:
    """The routines of ``unit`` (where nothing is declared one, its labels), or what is ``wanted``.

    Sections are SECTION_GAP apart, and what other units define has addresses beyond them all.
    """
    bases = [SECTION_GAP * (index + 1) for index in range(len(unit.sections))]
    beyond = SECTION_GAP * (len(bases) + 1)
    addresses: list[int] = []
    named: list[tuple[int, str]] = []
    functions: list[Place] = []
    labels: list[Place] = []
    referred: set[int] = set()
    for number, symbol in enumerate(unit.symbols):
        inside = 0 <= symbol.section < len(bases)
        address = bases[symbol.section] + symbol.value if inside else beyond + number * SECTION_GAP
        addresses.append(address)
        if not _is_name(symbol.name):
            continue
        named.append((address, symbol.name))
        if inside:
            place = symbol.section, address, symbol.size, symbol.name
            if symbol.type is SymbolType.FUNC:
                functions.append(place)
            elif symbol.type is SymbolType.NOTYPE:
                labels.append(place)
                if symbol.binding is not Binding.LOCAL:
                    referred.add(address)
    ends = {index: base + unit.sections[index].size for index, base in enumerate(bases)}
    fixups = [_fixups(section, addresses) for section in unit.sections]
    pointers = [_pointers(section, addresses) for section in unit.sections]
    labels = [one for one in labels if unit.sections[one[0]].flags & SectionFlag.EXEC]
    places = labels
    if functions or any(size for _, _, size, _ in labels):
        for section, base, own in zip(unit.sections, bases, fixups, strict=True):
            if section.flags & SectionFlag.EXEC:
                referred |= branch_targets(section.data, base) | set(own.values())
        places = functions + untyped_routines(functions, labels, referred)
    routines: dict[str, Routine] = {}
    for index, address, size, symbol_name in _extents(places, ends, wanted):
        section = unit.sections[index]
        start = address - bases[index]
        code = section.data[start : start + size]
        if not section.flags & SectionFlag.EXEC or not code or len(code) != size:
            continue
        own = _within(fixups[index], start, size)
        found = Routine(
            symbol_name,
            address,
            bytes(code),
            own,
            _within(pointers[index], start, size),
            section=section.name,
            lines=_lines(section.lines, start, size),
        )
        routines.setdefault(symbol_name, found)
    extents = [
        Extent(section.name, base, section.size)
        for section, base in zip(unit.sections, bases, strict=True)
        if section.flags & SectionFlag.EXEC
    ]

    def content(address: int, size: int) -> bytes:
        number, start = divmod(address - SECTION_GAP, SECTION_GAP)
        inside = 0 <= number < len(unit.sections)
        return unit.sections[number].data[start : start + size] if inside else b""

    names = Names(named, content)
    return Side(name, routines, names, part=True, sections=tuple(extents))


def _within(found: Mapping[int, V], start: int, size: int) -> dict[int, V]:
    """What is at offsets within a routine, counted from its start."""
    return {at - start: to for at, to in found.items() if start <= at < start + size}


def _lines(
    lines: tuple[tuple[int, SourceLine], ...], start: int, size: int
) -> tuple[tuple[int, SourceLine], ...]:
    """Those of a section's ``lines`` that are within a routine, by offset in it."""
    first = max(bisect_right(lines, start, key=lambda entry: entry[0]) - 1, 0)
    last = bisect_right(lines, start + size - 1, key=lambda entry: entry[0])
    return tuple((max(offset - start, 0), line) for offset, line in lines[first:last])


# Bytes of the data that holds an address.
_POINTERS: dict[int, int] = {
    RelocationType.ABS64: 8,
    RelocationType.ABS32: 4,
    RelocationType.PREL64: 8,
    RelocationType.PREL32: 4,
}


def _pointers(section: Section, addresses: list[int]) -> dict[int, tuple[int, int]]:
    return {
        one.offset: (addresses[one.symbol] + one.addend, _POINTERS[one.type])
        for one in section.relocations
        if one.type in _POINTERS and 0 <= one.symbol < len(addresses)
    }


def _fixups(section: Section, addresses: list[int]) -> dict[int, int]:
    return {
        one.offset: addresses[one.symbol] + one.addend
        for one in section.relocations
        if one.type in _REFERRING and 0 <= one.symbol < len(addresses)
    }


def _extents(places: list[Place], ends: Mapping[int, int], wanted: str | None) -> Iterator[Place]:
    """(section, address, size, name) with whole words and a size for what has none: to the next."""
    starts = sorted({(section, address) for section, address, _, _ in places})
    if wanted is not None:
        places = [place for place in places if place[3] == wanted]
    if len(places) > MAX_ROUTINES:
        raise DiffError(
            f"{len(places)} routines, more than the {MAX_ROUTINES} compared at once", hint=_NAME_ONE
        )
    total = 0
    for section, address, size, name in places:
        if not size:
            at = bisect_right(starts, (section, address))
            following = starts[at] if at < len(starts) else None
            here = following is not None and following[0] == section
            size = (following[1] if here and following else ends[section]) - address
        size = min(size, MAX_ROUTINE) & ~3
        total += max(size, 0)
        if total > MAX_TOTAL:
            raise DiffError(f"routines of more than {MAX_TOTAL} bytes", hint=_NAME_ONE)
        if address % 4 == 0 and size > 0:
            yield section, address, size, name


def _is_name(name: str) -> bool:
    """Whether this is more than a mapping symbol (AAELF64) or a local label."""
    return bool(name) and not name.startswith(("$", ".L"))
