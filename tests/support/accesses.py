"""What a CPU loads and stores by the engine's own account: its memory hooks."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from unicorn.unicorn_const import (
    UC_HOOK_CODE,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MEM_WRITE,
)

from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.trace import Trace, TraceKind

Span = tuple[str, int, int]
"""``load`` or ``store``, the first byte and the one after the last."""

RANGES = TraceKind.LOAD, TraceKind.STORE, TraceKind.FETCH, TraceKind.FILL
_NAMES = {TraceKind.LOAD: "load", TraceKind.STORE: "store"}


class Seen:
    """Accesses by PA in order, each with how many instructions came before its own."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.before: list[int] = []
        self.instructions = 0

    def on_instruction(self, *_: object) -> None:
        self.instructions += 1

    def on_access(self, _uc: object, kind: int, pa: int, size: int, *_: object) -> None:
        self.spans.append(("store" if kind == UC_MEM_WRITE else "load", pa, pa + size))
        self.before.append(self.instructions - 1)


@contextmanager
def watched(cpu: Cpu) -> Iterator[Seen]:
    """The accesses of ``cpu`` while it is entered."""
    seen = Seen()
    hooks = [
        cpu.uc.hook_add(UC_HOOK_CODE, seen.on_instruction),
        cpu.uc.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, seen.on_access),
    ]
    cpu.flush_code()
    try:
        yield seen
    finally:
        for hook in hooks:
            cpu.uc.hook_del(hook)
        cpu.flush_code()


def recorded(trace: Trace, column: str = "pa") -> list[Span]:
    """The loads and stores of a trace, in its order, by PA or VA."""
    return [
        (_NAMES[TraceKind(one["kind"])], int(one[column]), int(one[column] + one["length"]))
        for one in trace.of(*_NAMES)
    ]


def merged(spans: list[Span]) -> list[Span]:
    """Each kind by itself, sorted, with what touches or overlaps made one."""
    found: list[Span] = []
    for kind, start, end in sorted(spans):
        if found and found[-1][0] == kind and start <= found[-1][2]:
            found[-1] = (kind, found[-1][1], max(end, found[-1][2]))
        else:
            found.append((kind, start, end))
    return found


def recorded_between_events(trace: Trace) -> list[list[Span]]:
    """The loads and stores of a trace between each two of its events, merged."""
    found: list[list[Span]] = [[]]
    for one in trace.records:
        kind = TraceKind(one["kind"])
        if kind in _NAMES:
            found[-1].append((_NAMES[kind], int(one["pa"]), int(one["pa"] + one["length"])))
        elif is_event(one):
            found.append([])
    return [merged(spans) for spans in found]


def seen_between_events(trace: Trace, seen: Seen) -> list[list[Span]]:
    """The same of what was seen: the events are those of ``trace``."""
    events = [int(one["before"]) for one in trace.records if is_event(one)]
    found: dict[int, list[Span]] = defaultdict(list)
    for span, before in zip(seen.spans, seen.before, strict=True):
        found[bisect_left(events, before)].append(span)
    return [merged(found[number]) for number in range(len(events) + 1)]


def is_event(one: np.void) -> bool:
    """Whether a record is of one instruction or exception, that no range crosses."""
    return TraceKind(one["kind"]) not in RANGES and not one["length"]
