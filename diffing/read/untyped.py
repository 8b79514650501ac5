"""Routines that no type says are one: SYM_CODE of the kernel, and labels that are branched to."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence

from relokit.codegen.base.bits import signed
from relokit.codegen.instruction_forms import LITERAL, RELATIVE, InstructionForm

_BRANCHES = [
    (form, low, width)
    for mask, value, low, width in RELATIVE
    if (form := InstructionForm(mask, value)) != LITERAL
]
LARGE = 1 << 18
"""Bytes of code that is looked at word by word at once."""
_PERHAPS = 0b101 << 26
"""All branches have these bits set (ARM DDI 0487, C4.1, "Branches, Exception Generating ...")."""

_PADDING = (bytes(4), struct.pack("<I", 0xD503201F))
"""Zeros and NOP."""

Place = tuple[int, int, int, str]
"""Number of the section, VA, bytes (0: unknown) and name of a routine."""
Spot = tuple[int, int]
"""Number of a section and a VA."""
CodeArea = tuple[int, int, bytes | memoryview, str]
"""Number, VA, bytes and name of a section that holds code."""


class DataRuns:
    """Where data stands among code: what mapping symbols say (AAELF64, "Mapping symbols").

    ``symbols`` are (number of the section, VA, name) of all there are.
    """

    def __init__(self, symbols: Iterable[tuple[int, int, str]]) -> None:
        self._data = {
            (section, address): name[1] == "d"
            for section, address, name in symbols
            if name[:2] in ("$d", "$x") and name[2:3] in ("", ".")
        }
        self._spots = sorted(self._data)

    def begins(self, spot: Spot) -> bool:
        """Whether data begins there."""
        return self._data.get(spot, False)

    def covers(self, spot: Spot) -> bool:
        """Whether what is there is data."""
        at = bisect_right(self._spots, spot) - 1
        return at >= 0 and self._spots[at][0] == spot[0] and self._data[self._spots[at]]


def untyped_routines(
    typed: Sequence[Place], labels: Iterable[Place], referred: set[int]
) -> list[Place]:
    """Those of ``labels`` in code that are routines beside the ``typed`` ones.

    A label that has a size is one. One without is, if it lies outside of all that has a size, and
    is ``referred`` to (a VA: branched to, or there for other objects) or in no other routine.
    """
    labels = list(labels)
    typed_places = set(typed)
    sized = [place for place in labels if place[2] >= 4]
    # What has a size may lie within what has one: how far those that begin up to here reach.
    reach: dict[int, int] = {}
    open_end: set[int] = set()
    found = list(sized)
    bare = (place for place in labels if not place[2])
    for place in sorted((*typed, *sized, *bare), key=lambda one: (one[0], one[1], not one[2])):
        section, address, size, _ = place
        outside = address >= reach.get(section, 0)
        if size:
            if outside:
                # A routine without a size ends where the next one begins.
                open_end.discard(section)
            reach[section] = max(reach.get(section, 0), address + size)
            continue
        if place not in typed_places:
            if not outside or not (address in referred or section not in open_end):
                continue
            found.append(place)
        if outside:
            open_end.add(section)
    return found


def branch_targets(code: bytes | memoryview, address: int) -> set[int]:
    """VAs that branches in ``code``, at ``address``, lead to; what is data may add some."""
    found: set[int] = set()
    words = struct.iter_unpack("<I", memoryview(code)[: len(code) & ~3])
    for at, (word,) in enumerate(words):
        if word & _PERHAPS != _PERHAPS:
            continue
        for form, low, width in _BRANCHES:
            if word & form.mask == form.value:
                found.add(address + 4 * (at + signed(word >> low, width)))
    return found


def unnamed_code(
    extents: Iterable[Place], code: Iterable[CodeArea], runs: DataRuns, hashes: Collection[Spot]
) -> Iterator[Place]:
    """What stands in ``code`` and is in no routine, as one with the name of what is in front of it.

    ``extents`` are all routines with their sizes. Padding and data are none (``strip`` and
    ``ld -x`` take away local symbols, and with them the names of routines).
    """
    routines: dict[int, list[Place]] = {}
    for place in extents:
        routines.setdefault(place[0], []).append(place)
    for section, base, content, title in code:
        data = memoryview(content)
        at, name = base, f"code in {title}"
        for _, address, size, symbol in sorted(routines.get(section, ()), key=lambda one: one[1]):
            yield from _code_between(section, at, address, data[at - base :], name, runs, hashes)
            if address + size > at:
                at, name = address + size, f"code behind {symbol}"
        yield from _code_between(
            section, at, base + len(data), data[at - base :], name, runs, hashes
        )


def _code_between(
    section: int,
    start: int,
    end: int,
    data: memoryview,
    name: str,
    runs: DataRuns,
    hashes: Collection[Spot],
) -> Iterator[Place]:
    """From the first to the last word of code between ``start`` and ``end``; as it is if long."""
    first = start + -start % 4
    if end - first > LARGE:
        yield section, first, end - first, name
        return
    words = [
        at
        for at in range(first, end - 3, 4)
        if bytes(data[at - start : at - start + 4]) not in _PADDING
        and (section, at) not in hashes
        and not runs.covers((section, at))
    ]
    if words:
        yield section, words[0], words[-1] + 4 - words[0], name


def distinct(places: Iterable[Place]) -> list[Place]:
    """``places`` in order, with a number behind the name of one that is not the first so called."""
    found: list[Place] = []
    known: dict[str, dict[Spot, int]] = {}
    for section, address, size, name in sorted(places):
        spots = known.setdefault(name, {})
        number = spots.setdefault((section, address), len(spots) + 1)
        found.append((section, address, size, name if number == 1 else f"{name} ({number})"))
    return found


def is_called(name: str, wanted: str) -> bool:
    """Whether a routine is ``wanted``, be it one of several that are so called."""
    return name == wanted or (name.endswith(")") and name.partition(" (")[0] == wanted)
