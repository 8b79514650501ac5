"""A linked Image as a Side: its routines, where they are, what they refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from relokit.codegen.facts import RELOCATION
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.object import SectionFlag
from relokit.diffing.read.data import Area, SideData
from relokit.diffing.read.extents import (
    by_routine,
    is_writable,
    sized,
)
from relokit.diffing.read.image_symbols import image_symbols
from relokit.diffing.read.routine import Extent, NamedPlaces, Names, Routine, Side
from relokit.linker.image import Image, PlacedSection

GETS_KIMAGE = frozenset({RELOCATION, "machine_kexec", "machine_kexec_post_load"})
"""Routines whose first argument is a struct kimage."""


def image_side(
    image: Image,
    name: str,
    *,
    layout: KimageLayout | None = None,
    readers: frozenset[str] = frozenset(),
    table: NamedPlaces | None = None,
    wanted: str | None = None,
    data: bool = False,
    content: Callable[[int, int], bytes | memoryview] | None = None,
    around: SideData | None = None,
) -> Side:
    """The routines of ``image``, or the one that is ``wanted``; its sized objects if ``data``.

    ``readers`` get a struct kimage, ``table`` has more addresses with names, ``content`` gives
    bytes at an address if those of ``image`` are not all, and ``around`` is then all of its data.
    """
    found = image_symbols(image)
    places = list(found.routines)
    objects = [place for place in found.objects if data and place[2] >= 4]
    places += objects
    data_names = {place[3] for place in objects}
    routines: dict[str, Routine] = {}
    ends = {i: s.va + s.size for i, s in enumerate(image.sections)}
    for index, address, size, symbol_name in sized(places, ends, wanted, found.hashes):
        section = image.sections[index]
        start = address - section.va
        if start < 0:
            continue
        words = bytes(section.data[start : start + size])
        if words and len(words) == size:
            one = Routine(
                symbol_name,
                address,
                words,
                kimage_argument=symbol_name in readers,
                section=section.name,
                lines=section.lines.within(start, size),
                data=symbol_name in data_names,
            )
            routines.setdefault(symbol_name, one)
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
        ((address, size, label) for _, address, size, label in found.data),
        found.extents,
        lambda: _taken(image.sections),
    )
    names = Names(found.names, content or own_content, around or own_data, table=table)
    return Side(
        name,
        routines,
        names,
        layout,
        sections=tuple(extents),
        hashes=by_routine(found.routines, found.hashes),
    )


def _taken(sections: Iterable[PlacedSection]) -> Iterator[int]:
    """VAs that code takes."""
    from relokit.diffing.read.references import data_references

    for section in sections:
        if section.flags & SectionFlag.EXEC:
            yield from data_references(section.data, section.va)
