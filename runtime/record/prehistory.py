"""Prehistory: what was done to the caches before a trace begins, as far as it counts."""

from __future__ import annotations

from collections.abc import Iterable

from relokit.codegen.base.nouns import dataclass

Range = tuple[int, int]
"""PA of the first byte, and of the first one after the last."""


@dataclass(frozen=True, slots=True)
class Prehistory:
    """Ranges of RAM where the trace begins, each tuple ascending and without overlaps.

    ``clean`` was cleaned to the point of coherency, and that is complete. All else may be dirty
    in a cache: old data of the old kernel. ``needed`` is what the move still reads, executes or
    translates by, and segments that are where they belong: of that, old data is not old.
    ``unfetchable`` is code that was changed, and no I-cache was invalidated for it since.
    """

    clean: tuple[Range, ...]
    needed: tuple[Range, ...]
    unfetchable: tuple[Range, ...] = ()


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """``ranges`` ascending, those that touch or overlap as one, empty ones left out."""
    found: list[list[int]] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([start, end])
    return tuple((start, end) for start, end in found)


def without(ranges: Iterable[Range], holes: Iterable[Range]) -> tuple[Range, ...]:
    """What of ``ranges`` lies in none of ``holes``, as :func:`merged` has it."""
    cut = merged(holes)
    found: list[Range] = []
    for start, end in merged(ranges):
        for low, high in cut:
            if low < end and high > start:
                found.append((start, low))
                start = max(start, high)
        found.append((start, end))
    return merged(found)
