"""The map of a page: sections and routines with addresses and sizes on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from relokit.codegen.base.nouns import dataclass
from relokit.diffing.read.routine import Extent, Routine, Side
from relokit.reporting.page_text import name_shown

MAX_SECTIONS = 400
"""Sections that are listed; a hostile ELF file has 65,279."""
SCALE = 100
"""Width of the longest bar."""
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A section or routine: addresses as text, sizes in bytes, None where a side has it not.

    ``href`` is the routine's id, ``bars`` are the sizes on a scale of SCALE.
    """

    name: str
    addresses: tuple[str, str]
    sizes: tuple[int | None, int | None]
    status: str
    section: str = ""
    href: str = ""
    bars: tuple[int, int] = (0, 0)

    @property
    def difference(self) -> str:
        """Bytes that the right has more, with a sign."""
        return signed((self.sizes[1] or 0) - (self.sizes[0] or 0))

    @property
    def same(self) -> bool:
        """Whether there is nothing to see."""
        return self.status == "same"


def signed(number: int) -> str:
    """``number`` with a sign, a minus as wide as the plus."""
    return f"+{number:,}" if number > 0 else f"{MINUS}{-number:,}" if number else "0"


def with_bars(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """``entries`` with bars of a common scale; what has any size has some bar."""
    most = max((size or 0 for entry in entries for size in entry.sizes), default=0)

    def bar(size: int | None) -> int:
        return max(1, round(SCALE * size / most)) if size else 0

    return tuple(
        replace(entry, bars=(bar(entry.sizes[0]), bar(entry.sizes[1]))) for entry in entries
    )


def section_entries(left: Side, right: Side) -> tuple[tuple[Entry, ...], int]:
    """Sections that hold code, by name, and how many are not listed."""
    theirs = _by_name(right.sections)
    found: list[tuple[Extent | None, Extent | None]] = []
    for key, extent in _by_name(left.sections).items():
        found.append((extent, theirs.pop(key, None)))
    found += [(None, extent) for extent in theirs.values()]
    entries = []
    for pair in found[:MAX_SECTIONS]:
        name = next(extent.name for extent in pair if extent is not None)
        sizes = _sizes(None if extent is None else extent.size for extent in pair)
        addresses = tuple(
            "" if extent is None or side.part else f"{extent.address:016x}"
            for extent, side in zip(pair, (left, right), strict=True)
        )
        entries.append(
            Entry(name_shown(name), (addresses[0], addresses[1]), sizes, _presence(sizes))
        )
    return with_bars(entries), max(0, len(found) - MAX_SECTIONS)


def _by_name(sections: Iterable[Extent]) -> dict[tuple[str, int], Extent]:
    """By name and, since an object may repeat one, by how often it was there before."""
    found: dict[tuple[str, int], Extent] = {}
    seen: dict[str, int] = {}
    for extent in sections:
        number = seen[extent.name] = seen.get(extent.name, -1) + 1
        found[extent.name, number] = extent
    return found


def _sizes(sizes: Iterable[int | None]) -> tuple[int | None, int | None]:
    left, right = sizes
    return left, right


def _presence(sizes: tuple[int | None, int | None]) -> str:
    left, right = sizes
    if left is None:
        return "only right"
    if right is None:
        return "only left"
    return "same size" if left == right else "other size"


def address_shown(routine: Routine | None, side: Side) -> str:
    """Where ``routine`` is; of an object, which has no addresses yet, its offset in the section."""
    if routine is None:
        return ""
    if not side.part:
        return f"{routine.address:016x}"
    for extent in side.sections:
        if extent.address <= routine.address < extent.address + extent.size:
            return f"+{routine.address - extent.address:x}"
    return ""
