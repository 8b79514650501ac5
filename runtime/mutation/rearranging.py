"""Mutants by order: an instruction at another place, all that lies between moved by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from relokit.codegen.instruction_forms import BARRIER
from relokit.codegen.system_registers import decode_system
from relokit.runtime.mutation.encodings import distance_of

FARTHEST = 4
"""Instructions that a system instruction is moved by, at most."""


def swapped(words: Mapping[int, int]) -> Iterator[dict[int, int]]:
    """Each two neighbours of ``words`` (by address) the other way round."""
    for va in words:
        yield from _moved(words, va, 1)


def moved(words: Mapping[int, int]) -> Iterator[dict[int, int]]:
    """Each system instruction earlier and later by two to FARTHEST."""
    for va, word in words.items():
        if not (BARRIER.holds(word) or decode_system(word)):
            continue
        for by in range(2, FARTHEST + 1):
            yield from _moved(words, va, by)
            yield from _moved(words, va, -by)


def _moved(words: Mapping[int, int], va: int, by: int) -> Iterator[dict[int, int]]:
    """What differs once the instruction at ``va`` is ``by`` instructions later.

    A branch still leads where it led. Nothing if one cannot, or if nothing differs.
    """
    step = 4 if by > 0 else -4
    places = range(va, va + 4 * by + step, step)
    if any(at not in words for at in places):
        return
    edits = {}
    for to, come_from in zip(places, (*places[1:], va), strict=True):
        word = words[come_from]
        distance = distance_of(word)
        if distance is not None:
            again = distance.put(word, distance.get(word) + come_from - to)
            if again is None:
                return
            word = again
        if word != words[to]:
            edits[to] = word
    if edits:
        yield edits
