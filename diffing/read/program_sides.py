"""A linked Image as a Side: its routines, where they are, what they refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from relokit.codegen.facts import RELOCATION
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.object import Binding, SectionFlag, SymbolType
from relokit.diffing.read.data import Area, SideData
from relokit.diffing.read.extents import (
    DataRuns,
    by_routine,
    is_named,
    is_writable,
    reaches,
    sized,
    source_lines,
    type_hashes,
)
from relokit.diffing.read.routine import Extent, Names, Routine, Side
from relokit.diffing.read.untyped import Place, branch_targets, untyped_routines
from relokit.linker.image import Image, PlacedSection

GETS_KIMAGE = frozenset({RELOCATION, "machine_kexec", "machine_kexec_post_load"})
"""Routines whose first argument is a struct kimage."""


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
    around: SideData | None = None,
) -> Side:
    """The routines of ``image``, or the one that is ``wanted``; its sized objects if ``data``.

    ``readers`` get a struct kimage, ``named`` are more addresses with names, ``content`` gives
    bytes at an address if those of ``image`` are not all, and ``around`` is then all of its data.
    """
    places: list[Place] = []
    objects: list[Place] = []
    labels: list[Place] = []
    things: list[tuple[int, int, str]] = []
    addresses = list(named)
    code = [index for index, one in enumerate(image.sections) if one.flags & SectionFlag.EXEC]
    referred: set[int] = set()
    runs = DataRuns((s.section, s.value, s.name) for s in image.symbols)
    for symbol in image.symbols:
        unnamed = symbol.type in (SymbolType.SECTION, SymbolType.FILE)
        if symbol.section < 0 or unnamed or not is_named(symbol.name):
            continue
        place = symbol.section, symbol.value, symbol.size, symbol.name
        if symbol.type is SymbolType.FUNC:
            addresses.append((symbol.value, symbol.name))
            places.append(place)
        elif symbol.type is SymbolType.OBJECT or symbol.section not in code or runs.has(place):
            addresses.append((symbol.value, symbol.name))
            things.append((symbol.value, symbol.size, symbol.name))
            if symbol.type is SymbolType.OBJECT and data and symbol.size >= 4:
                objects.append(place)
        elif symbol.type is SymbolType.NOTYPE:
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
    routine_places = list(places)
    unbranched = set(labels).difference(places)
    places += objects
    data_names = {place[3] for place in objects}
    routines: dict[str, Routine] = {}
    ends = {i: s.va + s.size for i, s in enumerate(image.sections)}
    hashes = type_hashes(routine_places, runs)
    for index, address, size, symbol_name in sized(places, ends, wanted, hashes):
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
                lines=source_lines(section.lines, start, size),
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

    own_data = SideData(
        [
            Area(
                section.name,
                section.va,
                section.size,
                section.data,
                is_writable(section.flags, section.name),
                bool(section.flags & SectionFlag.EXEC),
            )
            for section in image.sections
            if section.flags & SectionFlag.ALLOC
        ],
        things + [(address, size, label) for _, address, size, label in unbranched],
        reaches(routine_places, ends, hashes),
        lambda: _taken(image.sections),
    )
    addresses += [(address, label) for _, address, _, label in unbranched if own_data.at(address)]
    names = Names(addresses, content or own_content, around or own_data)
    return Side(
        name,
        routines,
        names,
        layout,
        sections=tuple(extents),
        hashes=by_routine(routine_places, hashes),
    )


def _taken(sections: Iterable[PlacedSection]) -> Iterator[int]:
    """VAs that code takes."""
    from relokit.diffing.read.references import data_references

    for section in sections:
        if section.flags & SectionFlag.EXEC:
            yield from data_references(section.data, section.va)
