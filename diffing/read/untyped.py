"""Routines that no type says are one: SYM_CODE of the kernel, and labels that are branched to."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from relokit.codegen.base.bits import signed
from relokit.codegen.instruction_forms import LITERAL, RELATIVE, InstructionForm

_BRANCHES = [
    (form, low, width)
    for mask, value, low, width in RELATIVE
    if (form := InstructionForm(mask, value)) != LITERAL
]
_PERHAPS = 0b101 << 26
"""All branches have these bits set (ARM DDI 0487, C4.1, "Branches, Exception Generating ...")."""

Place = tuple[int, int, int, str]
"""Number of the section, VA, bytes (0: unknown) and name of a routine."""


def untyped_routines(
    typed: Sequence[Place], labels: Iterable[Place], referred: set[int]
) -> list[Place]:
    """Those of ``labels`` in code that are routines beside the ``typed`` ones.

    A label that has a size is one. One without is, if it is ``referred`` to (a VA: branched to, or
    there for other objects), and lies outside of all that has a size.
    """
    labels = list(labels)
    sized = [place for place in labels if place[2] >= 4]
    extents = sorted((address, address + size) for _, address, size, _ in (*typed, *sized) if size)
    starts = [start for start, _ in extents]
    # Extents may lie within one another: how far those that begin up to here reach.
    reach: list[int] = []
    for _, end in extents:
        reach.append(max(end, reach[-1] if reach else end))

    def outside(address: int) -> bool:
        at = bisect_right(starts, address)
        return not at or reach[at - 1] <= address

    bare = [place for place in labels if not place[2] and place[1] in referred]
    return [*sized, *(place for place in bare if outside(place[1]))]


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
