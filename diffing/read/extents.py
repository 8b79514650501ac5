"""Where routines begin and end in sections, with the words in front of them that are no code."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from relokit.codegen.object import SectionFlag
from relokit.diffing.read.data import CONSTANT_WHEN_RUN
from relokit.diffing.read.routine import MAX_ROUTINE, MAX_ROUTINES, DiffError
from relokit.diffing.read.untyped import CodeArea, DataRuns, Place, Spot, is_called, unnamed_code

V = TypeVar("V")
TYPE_HASH = 4
"""Bytes of the hash of a function's type in front of it."""
MAX_TOTAL = 1 << 24
"""Bytes of all routines of one side; overlapping ones count each."""
_NAME_ONE = "name one of them: FILE:symbol"


def sized(
    places: list[Place], ends: Mapping[int, int], wanted: str | None, hashes: Collection[Spot]
) -> Iterator[Place]:
    """(section, address, size, name) with whole words and a size for what has none: to the next.

    What is longer than a routine may be comes in several.
    """
    starts = sorted({(section, address) for section, address, _, _ in places} | set(hashes))
    if wanted is not None:
        places = [place for place in places if is_called(place[3], wanted)]
    if len(places) > MAX_ROUTINES:
        raise DiffError(
            f"{len(places)} routines, more than the {MAX_ROUTINES} compared at once", hint=_NAME_ONE
        )
    total = 0
    for section, address, size, name in places:
        if not size:
            size = _up_to_next(starts, section, address, ends)
        # A word that it has a part of is compared.
        size = min(size + -size % 4, (ends[section] - address) & ~3)
        total += max(size, 0)
        if total > MAX_TOTAL:
            raise DiffError(f"routines of more than {MAX_TOTAL} bytes", hint=_NAME_ONE)
        if address % 4 == 0:
            for at in range(0, size, MAX_ROUTINE):
                part = f"{name}+{at:#x}" if at else name
                yield section, address + at, min(MAX_ROUTINE, size - at), part


def is_named(name: str) -> bool:
    """Whether this is more than a mapping symbol (AAELF64) or a local label."""
    return bool(name) and not name.startswith(("$", ".L"))


def is_writable(flags: SectionFlag, section: str) -> bool:
    return bool(flags & SectionFlag.WRITE) and not section.startswith(CONSTANT_WHEN_RUN)


def type_hashes(places: Iterable[Place], runs: DataRuns) -> set[Spot]:
    """Where words of data stand right before a routine, alone: the hash of its type, for callers
    that check it (kCFI: the word before a function).
    """
    return {
        (section, address - TYPE_HASH)
        for section, address, _, _ in places
        if runs.begins((section, address - TYPE_HASH)) and not runs.begins((section, address))
    }


def by_routine(places: Iterable[Place], hashes: Collection[Spot]) -> dict[str, int]:
    return {
        name: address - TYPE_HASH
        for section, address, _, name in places
        if (section, address - TYPE_HASH) in hashes
    }


def reaches(
    places: list[Place], ends: Mapping[int, int], hashes: Collection[Spot]
) -> Iterator[tuple[int, int]]:
    """From where to where routines reach, whatever is to be compared."""
    starts = sorted({(section, address) for section, address, _, _ in places} | set(hashes))
    for section, address, size, _ in places:
        yield address, address + (size or _up_to_next(starts, section, address, ends))


def with_unnamed(
    places: list[Place],
    ends: Mapping[int, int],
    code: Iterable[CodeArea],
    runs: DataRuns,
    hashes: Collection[Spot],
) -> list[Place]:
    """``places``, and code that is in none of them (``unnamed_code``)."""
    starts = sorted({(section, address) for section, address, _, _ in places} | set(hashes))
    extents = [
        (section, address, size or _up_to_next(starts, section, address, ends), name)
        for section, address, size, name in places
    ]
    return [*places, *unnamed_code(extents, code, runs, hashes)]


def _up_to_next(starts: Sequence[Spot], section: int, address: int, ends: Mapping[int, int]) -> int:
    """Bytes from there to what begins next in the section, or to its end."""
    at = bisect_right(starts, (section, address))
    here = at < len(starts) and starts[at][0] == section
    return (starts[at][1] if here else ends[section]) - address


class ByOffset(dict[int, V]):
    """What is at which offset of a section, to be asked for one routine after the other."""

    __slots__ = ("_offsets",)

    def __init__(self, found: Mapping[int, V]) -> None:
        super().__init__(found)
        self._offsets = sorted(found)

    def within(self, start: int, size: int) -> dict[int, V]:
        """What a routine has of it, by the offset from its start."""
        first, last = bisect_left(self._offsets, start), bisect_left(self._offsets, start + size)
        return {at - start: self[at] for at in self._offsets[first:last]}
