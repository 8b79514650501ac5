"""``relokit.show``: a machine before it leaves its kernel, and after, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from relokit.arguments import job_or_default
from relokit.codegen.base.errors import FormatError, RelokitError
from relokit.codegen.base.told_to_end import removed_at_last
from relokit.codegen.target import Target
from relokit.linker.kernel.opened import Files
from relokit.machines.snapshots import opened_snapshot, take_up
from relokit.runtime.kexec.job import Job
from relokit.runtime.room.show_request import ShowRequest, ShowSnapshotRequest
from relokit.runtime.show.shown.code_shown import CodeShown, VectorsShown
from relokit.runtime.show.shown.list_shown import ListShown
from relokit.runtime.show.shown.memory_shown import MemoryShown
from relokit.runtime.show.shown.question import Question, Topic
from relokit.runtime.show.shown.steps_shown import StepsShown
from relokit.runtime.show.shown.tables_shown import TablesShown
from relokit.session import Progress, process_session, seconds_of

if TYPE_CHECKING:
    from relokit.runtime.evidence.evidence import Evidence

_NOUNS: Mapping[Topic, type[Any]] = {
    Topic.MEMORY: MemoryShown,
    Topic.LIST: ListShown,
    Topic.TABLES: TablesShown,
    Topic.VECTORS: VectorsShown,
    Topic.CODE: CodeShown,
    Topic.TRACE: StepsShown,
}
_LACKS = "a trace has no guest memory: {what} cannot be read from it"


def show(
    question: Question,
    target: Target | None = None,
    job: Job | None = None,
    *,
    snapshot: Path | None = None,
    files: Files | None = None,
    progress: Progress | None = None,
) -> Any:
    """What ``question`` asks for: of the machine that ``job`` describes, or one in a ``snapshot``.

    The answer is a noun of ``relokit.runtime.show``. Raises RelokitError for bad input, and for a
    moment that the machine does not come to.
    """
    session, files = process_session(), files or Files()
    if question.topic is Topic.TIMELINE:
        from relokit.runtime.show.read_timeline import timeline_shown

        with TemporaryDirectory(prefix="relokit-") as directory:
            trace = Path(directory) / "trace"
            with removed_at_last(trace, directory):
                if snapshot is None:
                    session.run(target, job, files=files, trace=trace, progress=progress)
                else:
                    take_up(snapshot, job, files=files, trace=trace, progress=progress)
            return timeline_shown(evidence_in(trace))
    answer = _NOUNS[question.topic]
    if snapshot is None:
        setup = session.setup(target, job, files)
        return session.ask(ShowRequest(question, setup), answer, seconds_of(setup.job), progress)
    session.start()
    found, kernel, job = opened_snapshot(snapshot, job_or_default(job), files)
    request = ShowSnapshotRequest(question, found, kernel.file, job)
    return session.ask(request, answer, seconds_of(job), progress)


def show_record(question: Question, path: Path) -> Any:
    """What ``question`` asks for, of the trace in the file ``path``, which ``relokit.run`` wrote.

    Raises FormatError for whatever else the file is, and for what no trace has.
    """
    from relokit.codegen.base.host_file import reading

    with reading():
        return show_evidence(question, evidence_in(path), str(path))


def show_evidence(question: Question, evidence: Evidence, where: str) -> Any:
    """The same of what has been read, from the file that is called ``where``."""
    from relokit.runtime.evidence.evidence_file import CONTRADICTIONS, MAKE_AGAIN
    from relokit.runtime.show import read_evidence
    from relokit.runtime.show.read_timeline import timeline_shown

    try:
        match question.topic:
            case Topic.MEMORY:
                return read_evidence.memory_of(evidence)
            case Topic.TABLES:
                return read_evidence.tables_of(evidence, question)
            case Topic.CODE:
                return read_evidence.code_of(evidence)
            case Topic.TIMELINE:
                return timeline_shown(evidence)
            case Topic.TRACE:
                return read_evidence.steps_of(evidence, question)
            case Topic.LIST | Topic.VECTORS:
                raise FormatError(
                    _LACKS.format(what=question.topic),
                    hint="show them of the machine, with the options of the run",
                )
    except RelokitError as error:
        raise FormatError(error.message, where=where, hint=error.hint) from None
    except CONTRADICTIONS as error:
        raise FormatError(
            f"its facts contradict each other ({type(error).__name__}: {str(error)[:80]})",
            where=where,
            hint=MAKE_AGAIN,
        ) from None


def evidence_in(path: Path) -> Evidence:
    """What the trace in the file ``path`` is evidence of; raises FormatError."""
    from relokit.runtime.evidence.evidence_file import parse_evidence
    from relokit.runtime.record.trace_file import read_trace

    evidence, _ = parse_evidence(read_trace(path), where=str(path))
    return evidence
