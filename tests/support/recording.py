"""Short programs, recorded."""

from __future__ import annotations

from typing import Any

import numpy as np

from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.record.stop import StopReason
from relokit.runtime.record.trace import Trace, TraceKind

RAM, CODE = 0x4000_0000, 0x4010_0000
DATA = RAM + 0x20_0000
PAGE, GRANULE, LINE = 4096, 2048, 64
NOISE = TraceKind.FETCH, TraceKind.FILL, TraceKind.VECTORS


def record(bench: Any, text: str, *, room: int = 10_000, **registers: int) -> Trace:
    """Run ``text`` to its end, recorded, with x0 at DATA unless told otherwise."""
    for name, value in ({"x0": DATA} | registers).items():
        bench.cpu.set_x(int(name[1:]), value)
    with Recorder(bench.cpu, room=room) as recorder:
        stop = bench.run(text)
    assert stop.reason is StopReason.REACHED, stop
    return recorder.trace()


def shown(trace: Trace) -> list[tuple[Any, ...]]:
    """Kind, offset from DATA, bytes and count of each record but fetches, fills and vectors."""
    keep = ~np.isin(trace.records["kind"], [int(kind) for kind in NOISE])
    return [
        (TraceKind(one["kind"]).name, int(one["va"]) - DATA, int(one["length"]), int(one["count"]))
        if one["length"]
        else (TraceKind(one["kind"]).name,)
        for one in trace.records[keep]
    ]
