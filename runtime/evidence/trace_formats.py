"""In which formats a trace is written: one door for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.version import VERSION
from relokit.runtime.evidence.evidence import Evidence
from relokit.runtime.judge.outcome import Outcome, TraceFile
from relokit.runtime.kexec.job import TraceFormat
from relokit.runtime.record.trace import Trace

Chunks = Callable[[Evidence, Outcome], Iterator[bytes]]


def _relokit(evidence: Evidence, outcome: Outcome) -> Iterator[bytes]:
    from relokit.runtime.evidence.evidence_file import evidence_chunks

    return evidence_chunks(evidence)


def _perfetto(evidence: Evidence, outcome: Outcome) -> Iterator[bytes]:
    from relokit.runtime.evidence.timeline import timeline_chunks

    return timeline_chunks(evidence, outcome.findings)


def _casemate(evidence: Evidence, outcome: Outcome) -> Iterator[bytes]:
    from relokit.runtime.evidence.casemate import casemate_chunks

    return casemate_chunks(evidence)


_WRITERS: dict[TraceFormat, Chunks] = {
    TraceFormat.RELOKIT: _relokit,
    TraceFormat.PERFETTO: _perfetto,
    TraceFormat.CASEMATE: _casemate,
}


def write_trace(
    evidence: Evidence, outcome: Outcome, path: Path, form: TraceFormat
) -> TraceFile | None:
    """Write the trace of ``evidence`` and what was found to ``path``; None if there is no trace.

    Raises RelokitError for a place that cannot be written.
    """
    trace = evidence.record.trace
    if not isinstance(trace, Trace):
        return None
    digest, last = hashlib.blake2b(digest_size=32), b""
    try:
        with path.open("wb") as file:
            for chunk in _WRITERS[form](evidence, outcome):
                digest.update(last)
                file.write(last := chunk)
            size = file.tell()
    except OSError as error:
        raise RelokitError(
            f"cannot be written: {error.strerror or error}",
            where=str(path.parent),
            hint="check that there is room; a trace takes some 100 bytes for each page moved",
        ) from None
    if form is not TraceFormat.RELOKIT:
        # Our own ends with it.
        digest.update(last)
    return TraceFile(
        bytes=size,
        records=len(trace.records),
        digest=digest.hexdigest(),
        of=evidence.subject.name,
        version=VERSION,
        full_at=trace.full_at,
    )
