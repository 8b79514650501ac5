"""Trace to CodeSeen: the instructions that were executed, and how their places are called."""

from __future__ import annotations

from weakref import ReferenceType, ref

from relokit.linker.image import Image
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.scene import SeenWord
from relokit.runtime.record.trace import Trace, TraceKind
from relokit.runtime.run.scenes import Guest, linked_word, place_in

MAX_INSTRUCTIONS = 1 << 14
"""Instructions that are kept, the first ones: a move has a few hundred."""
_WORD = 4


def code_seen(guest: Guest, trace: Trace) -> CodeSeen:
    """What ``trace`` has fetched, as it was linked; as it is in RAM now where nothing was."""
    words: dict[int, SeenWord] = {}
    places: dict[int, str] = {}
    fetched = trace.of(TraceKind.FETCH)
    columns = (fetched[name].tolist() for name in ("va", "pa", "length"))
    for va, pa, length in dict.fromkeys(zip(*columns, strict=True)):
        for offset in range(0, length, _WORD):
            at = va + offset
            if at in words:
                continue
            if len(words) == MAX_INSTRUCTIONS:
                return CodeSeen(words, places)
            located = guest.locate(at)
            if located is None:
                words[at] = SeenWord(at, _in_ram(guest, pa + offset), None)
                continue
            word, line, places[at] = _linked(*located)
            words[at] = SeenWord(at, word, line)
    return CodeSeen(words, places)


_Linked = tuple[int | None, str | None, str]
"""A word as it was linked, its source line, and its place."""
_known: dict[int, tuple[ReferenceType[Image], dict[int, _Linked]]] = {}
"""By identity of an image that is still there: the cells of a matrix run the same code."""


def _linked(image: Image, va: int) -> _Linked:
    key = id(image)
    if key not in _known:
        _known[key] = ref(image, lambda _: _known.pop(key)), {}
    known = _known[key][1]
    found = known.get(va)
    if found is None:
        line = image.line_at(va)
        found = linked_word(image, va), str(line) if line else None, place_in(image, va)
        known[va] = found
    return found


def _in_ram(guest: Guest, pa: int) -> int | None:
    if not guest.memory.contains(pa, _WORD):
        return None
    return int.from_bytes(guest.memory.read(pa, _WORD), "little")
