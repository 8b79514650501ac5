"""``relokit.show``: a machine before it leaves its kernel, and after, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relokit.arguments import job_or_default
from relokit.codegen.target import Target
from relokit.linker.kernel.opened import Files
from relokit.machines.snapshots import opened_snapshot
from relokit.runtime.kexec.job import Job
from relokit.runtime.room.show_request import ShowRequest, ShowSnapshotRequest
from relokit.runtime.show.question import Question
from relokit.session import Progress, process_session, seconds_of


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

    The answer is of the class that ``relokit.runtime.show.answer.ANSWERS`` has for the topic.
    Raises RelokitError for bad input, and for a moment that the machine does not come to.
    """
    from relokit.runtime.show.answer import ANSWERS

    session, answer = process_session(), ANSWERS[question.topic]
    if snapshot is None:
        setup = session.setup(target, job, files)
        return session.ask(ShowRequest(question, setup), answer, seconds_of(setup.job), progress)
    job = job_or_default(job)
    session.start()
    found, kernel, job = opened_snapshot(snapshot, job, files or Files())
    request = ShowSnapshotRequest(question, found, kernel.file, job)
    return session.ask(request, answer, seconds_of(job), progress)
