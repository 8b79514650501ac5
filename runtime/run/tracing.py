"""A run that is recorded, and its trace written to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from relokit.codegen.base.errors import RelokitError
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.judge.outcome import TraceFile

T = TypeVar("T")


def traced(cpu: Cpu, path: Path | None, run: Callable[[], T]) -> tuple[T, TraceFile | None]:
    """What ``run`` gives; with a ``path``, what ``cpu`` does meanwhile is recorded into that file.

    Raises RelokitError for a place that cannot be written.
    """
    if path is None:
        return run(), None
    from relokit.runtime.engine.recorder import Recorder
    from relokit.runtime.record.trace_file import trace_chunks

    with Recorder(cpu) as recorder:
        result = run()
    trace = recorder.trace()
    try:
        with path.open("wb") as file:
            for chunk in trace_chunks(trace):
                file.write(chunk)
            size = file.tell()
    except OSError as error:
        raise RelokitError(
            f"cannot be written: {error.strerror or error}",
            where=str(path.parent),
            hint="check that there is room; a trace takes some 100 bytes for each page moved",
        ) from None
    return result, TraceFile(size, len(trace.records), trace.full_at)
