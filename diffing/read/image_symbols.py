"""The symbols of a linked Image, by what they are of: routines, data, or places in a routine."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import Binding, SectionFlag, SymbolType
from relokit.diffing.read.extents import is_named, reaches, type_hashes, with_unnamed
from relokit.diffing.read.untyped import (
    LARGE,
    DataRuns,
    Place,
    Spot,
    branch_targets,
    distinct,
    untyped_routines,
)
from relokit.linker.image import Image


@dataclass(frozen=True, slots=True)
class ImageSymbols:
    """``routines``, ``objects`` (data by its type) and ``data``: all that has a name and is in no
    routine. ``extents`` are where routines begin and end, ``hashes`` what is in front of them.
    """

    routines: tuple[Place, ...]
    objects: tuple[Place, ...]
    data: tuple[Place, ...]
    extents: tuple[tuple[int, int], ...]
    hashes: frozenset[Spot]

    @property
    def names(self) -> Iterator[tuple[int, str]]:
        """VA and name of everything."""
        for _, address, _, name in (*self.routines, *self.data):
            yield address, name


def image_symbols(image: Image) -> ImageSymbols:
    """What the symbols of ``image`` name."""
    typed: list[Place] = []
    objects: list[Place] = []
    data: list[Place] = []
    labels: list[Place] = []
    referred: set[int] = set()
    code = {index for index, one in enumerate(image.sections) if one.flags & SectionFlag.EXEC}
    runs = DataRuns((one.section, one.value, one.name) for one in image.symbols)
    for symbol in image.symbols:
        unnamed = symbol.type in (SymbolType.SECTION, SymbolType.FILE)
        if symbol.section < 0 or unnamed or not is_named(symbol.name):
            continue
        place = symbol.section, symbol.value, symbol.size, symbol.name
        if symbol.type is SymbolType.FUNC:
            typed.append(place)
        elif symbol.type is SymbolType.OBJECT:
            objects.append(place)
            data.append(place)
        elif symbol.section not in code or runs.covers(place[:2]):
            data.append(place)
        else:
            labels.append(place)
            if symbol.binding is not Binding.LOCAL:
                referred.add(symbol.value)
    if labels:
        for index in code:
            section = image.sections[index]
            referred |= _branches(section.data, section.va)
    routines = [*typed, *untyped_routines(typed, labels, referred)]
    ends = {index: one.va + one.size for index, one in enumerate(image.sections)}
    hashes = type_hashes(routines, runs)
    areas = (
        (n, image.sections[n].va, image.sections[n].data, image.sections[n].name) for n in code
    )
    routines = distinct(with_unnamed(routines, ends, areas, runs, hashes))
    extents = sorted(reaches(routines, ends, hashes))
    data += _outside(set(labels).difference(routines), extents)
    return ImageSymbols(
        tuple(routines), tuple(objects), tuple(data), tuple(extents), frozenset(hashes)
    )


def _branches(code: bytes | memoryview, address: int) -> set[int]:
    if len(code) <= LARGE:
        return branch_targets(code, address)
    from relokit.diffing.read.references import branch_references

    return set(branch_references(code, address))


def _outside(labels: set[Place], extents: list[tuple[int, int]]) -> Iterator[Place]:
    """Labels that are in no routine."""
    at, reach = 0, 0
    for place in sorted(labels, key=lambda place: place[1]):
        while at < len(extents) and extents[at][0] <= place[1]:
            reach = max(reach, extents[at][1])
            at += 1
        if place[1] >= reach:
            yield place
