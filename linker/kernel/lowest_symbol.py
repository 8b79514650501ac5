"""Where in the Image the lowest symbol of kallsyms is: the table says how far others are from it.

With CONFIG_KALLSYMS_ALL it has the start of the Image. Else it has functions only, of .text and
.init.text. The entry point, which the header branches to (booting.rst), is one of those up to 6.3.
But what code calls begins a function, and only one place puts symbols under nearly all of that.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from relokit.codegen.base.errors import FormatError

BRANCH, CALL = 0b000101, 0b100101
"""Top six bits of ``b`` and ``bl`` (DDI 0487, C6.2.26 and C6.2.33)."""
STEP = 4096
"""What the start of .text is aligned to, at least."""
FARTHEST = 4 << 20
"""Bytes from the Image's start within which .text begins: 64 KiB in shipped kernels."""
SAMPLE = 4096
"""Calls that are looked at."""
ENOUGH = 0.5
"""The part of them that has to lead to symbols; 0.9 and more do in shipped kernels, or 0.1."""


def lowest_symbol(
    image: memoryview, offsets: array[int], number: Callable[[str], int | None], where: str
) -> int:
    """Offset in the Image of the lowest symbol; ``offsets`` are from there, ascending, and
    ``number`` says which of them is that of a name.

    Raises FormatError naming ``where`` if nothing tells.
    """
    places = {"_text": 0}
    for at in (4, 0):
        word = int.from_bytes(image[at : at + 4], "little")
        if word >> 26 == BRANCH:
            target = at + 4 * (word & (1 << 26) - 1)
            places |= {"primary_entry": target, "stext": target}
    for name, place in places.items():
        found = number(name)
        if found is not None and place >= offsets[found]:
            return place - offsets[found]
    lowest = _by_calls(image, offsets)
    if lowest is None:
        raise FormatError(
            "kallsyms names neither the start of the Image nor its entry point, and what is called "
            "does not tell",
            where=where,
        )
    return lowest


def _by_calls(image: memoryview, offsets: array[int]) -> int | None:
    """The place that puts the most symbols where functions are called."""
    import numpy as np

    words = np.frombuffer(image[: min(len(image), offsets[-1] + FARTHEST) & ~3], "<u4")
    at = np.flatnonzero(words >> 26 == CALL)
    if not len(at):
        return None
    at = at[:: len(at) // SAMPLE + 1]
    distance = (words[at] & ((1 << 26) - 1)).astype(np.int64)
    called = np.unique(4 * (at + distance - (distance >> 25 << 26)))
    known = np.unique(np.frombuffer(offsets, np.int64))
    best, most = None, 0
    for place in range(0, FARTHEST, STEP):
        wanted = called - place
        near = np.searchsorted(known, wanted).clip(0, len(known) - 1)
        votes = int((known[near] == wanted).sum())
        if votes > most:
            best, most = place, votes
    return best if most >= ENOUGH * len(called) else None
