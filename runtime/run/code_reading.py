"""Trace to CodeSeen: the instructions that were executed, and how their places are called."""

from __future__ import annotations

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
            line = located[0].line_at(located[1])
            words[at] = SeenWord(at, linked_word(*located), str(line) if line else None)
            places[at] = place_in(*located)
    return CodeSeen(words, places)


def _in_ram(guest: Guest, pa: int) -> int | None:
    if not guest.memory.contains(pa, _WORD):
        return None
    return int.from_bytes(guest.memory.read(pa, _WORD), "little")
