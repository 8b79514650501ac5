"""The trace of a run, written to a file."""

from __future__ import annotations

from pathlib import Path

from relokit.codegen.base.errors import RelokitError
from relokit.runtime.judge.outcome import TraceFile
from relokit.runtime.record.trace import Trace
from relokit.runtime.record.trace_file import trace_chunks


def write_trace(trace: Trace, path: Path) -> TraceFile:
    """Write ``trace`` to ``path``; raises RelokitError for a place that cannot be written."""
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
    return TraceFile(size, len(trace.records), trace.full_at)
