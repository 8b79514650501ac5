"""Running the matrix: every cell in a machine of its own, on all cores.

Workers carry requests there and verdicts back; programs are built here, once for each target.
A cell that takes its room down gives no answer, and all others do: the next one gets a fresh room.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from relokit.arguments import job_or_default
from relokit.building import encoder, programs_for, sources_of
from relokit.codegen.base.documents import ABSENT, ALL, Table, shown
from relokit.codegen.base.errors import NativeCrashError, RelokitError, TargetError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kexec_routines import CodeUsed
from relokit.known_defects import known_defect
from relokit.runtime.campaign.cells import MAX_JOBS, Cell
from relokit.runtime.judge.outcome import Finding, Status, accepted_for, verdict_on
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.opened_inputs import OpenedInputs, open_inputs
from relokit.runtime.room.requests import CellAnswer, CellsRequest, Setup
from relokit.workers import RoomWorkers, Task, Workers, carried_out, default_jobs

if TYPE_CHECKING:
    from relokit.linker.foreign.code import ForeignCode
    from relokit.linker.kernel.opened import Files
    from relokit.linker.link.image_cache import Sources

TOGETHER = 8
"""Cells of one target in one request, at most: to carry one costs a tenth of what a cell does."""
EACH = 8
"""Requests that each worker gets at least, if there are so many cells: all end at one time."""
ERROR = "matrix.error"
"""The rule of a cell that could not be built or set up."""
AHEAD = 8
"""Requests a room may be ahead of the one that is reported next, so that a slow one holds up none.
"""


class CellStatus(StrEnum):
    """What became of a cell. KNOWN is one that fails by a defect of the series, and no other.

    NO_ANSWER is one at which the host's time was over, or that has taken its room down.
    """

    PASS = "pass"
    FAIL = "fail"
    UNSUPPORTED = "unsupported"
    KNOWN = "known"
    NO_ANSWER = "no answer"


_STATUSES = {
    CellStatus.PASS: Status.PASS,
    CellStatus.KNOWN: Status.PASS,
    CellStatus.FAIL: Status.FAIL,
    CellStatus.NO_ANSWER: Status.NO_ANSWER,
}


@dataclass(frozen=True, slots=True)
class CellResult:
    """``seconds`` is the cell's whole time, ``instructions`` the guest's from the jump on.

    ``reason`` says why an unsupported cell is that, or in a few words why one failed or is known;
    ``findings`` is the long form. ``not_judged`` is that of a verdict (RuleAnswers).
    """

    DOCUMENT: ClassVar[Table] = {
        ALL: "cell",
        **shown("status", "seconds", "instructions", "findings", "reason"),
    }

    cell: Cell
    status: CellStatus
    seconds: float = 0.0
    instructions: int = 0
    reason: str | None = field(default=None, metadata=ABSENT)
    findings: tuple[Finding, ...] = ()
    not_judged: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """How many of ``cells`` ended how so far, in wall-clock ``seconds``, ``jobs`` at a time.

    ``not_judged`` are rules or subjects that some cell did not judge, and why the first did not.
    ``code`` is what ran in place of ours. ``accepted_for`` are the reasons of findings that the
    project accepts, one for each.
    """

    cells: int
    jobs: int
    code: CodeUsed | None = None
    seconds: float = 0.0
    counts: dict[CellStatus, int] = field(default_factory=lambda: dict.fromkeys(CellStatus, 0))
    not_judged: dict[str, str] = field(default_factory=dict)
    accepted_for: list[str] = field(default_factory=list)

    def add(self, result: CellResult, seconds: float) -> None:
        """Count one more; ``seconds`` since the beginning."""
        self.counts[result.status] += 1
        self.seconds = seconds
        self.not_judged = {**result.not_judged, **self.not_judged}
        self.accepted_for += [one.accepted for one in result.findings if one.accepted is not None]

    @property
    def accepted(self) -> str:
        """How many findings the project accepts in all cells, and why; empty if none."""
        return accepted_for(self.accepted_for)

    @property
    def done(self) -> int:
        """Cells with a result."""
        return sum(self.counts.values())

    @property
    def status(self) -> str:
        """The verdict on all cells: ``pass``, ``fail``, ``no answer``, or ``nothing`` was run."""
        return verdict_on(_STATUSES[one] for one in _STATUSES if self.counts[one])

    @property
    def rate(self) -> float:
        """Cells run a second."""
        run = self.done - self.counts[CellStatus.UNSUPPORTED]
        return run / self.seconds if self.seconds else 0.0


def run_matrix(
    cells: Sequence[Cell],
    job: Job | None = None,
    *,
    jobs: int | None = None,
    workers: Workers | None = None,
    files: Files | None = None,
) -> Generator[CellResult, None, None]:
    """Run ``cells`` in ``jobs`` machine rooms (None: one a core); results in the cells' order.

    ``workers`` take the place of these rooms, and are ended with them. ``files`` has what is open
    already. A cell that the job's foreign code is not for is unsupported.
    ``job`` has what all cells share: kernel, seed, templates, limits. Closing the iterator, or
    an exception in it (KeyboardInterrupt), stops every room at once. Raises RelokitError for a
    kernel or a directory of templates that no cell could use; other errors are their cell's.
    """
    shared = job_or_default(job)
    opened = open_inputs(shared, files, encoder)
    sources = sources_of(shared, opened.code)
    if opened.code is not None:
        cells = [fitted(cell, opened.code) for cell in cells]
        opened = opened.for_machine
    count = max(1, min(jobs or default_jobs(), MAX_JOBS, len(cells)))
    with workers or RoomWorkers(count) as those:
        together = max(1, min(TOGETHER, len(cells) // (those.count * EACH)))
        yield from _results(those, _groups(cells, shared, opened, sources, together))


def fitted(cell: Cell, code: ForeignCode) -> Cell:
    """``cell`` for ``code`` in place of ours: with its layout, or the reason why it is not for it.

    One that cannot be built stays as it is.
    """
    from relokit.linker.foreign.code import target_for
    from relokit.runtime.kexec.running import check_code_runs

    if cell.target is None or cell.path is None:
        return cell
    try:
        target = target_for(cell.target, code)
        check_code_runs(target, cell.path, code)
        return replace(cell, target=target)
    except TargetError as error:
        return replace(cell, target=None, reason=error.message)


@dataclass(frozen=True, slots=True)
class _Group:
    """Cells of one target in one request, with their jobs in place of that of ``setup``; without
    a request if they cannot run: with the error of their programs, or they say why themselves.
    """

    cells: tuple[Cell, ...]
    setup: Setup | None = None
    jobs: tuple[Job, ...] = ()
    error: RelokitError | None = None

    @property
    def task(self) -> Task[_Group, tuple[CellAnswer, ...]]:
        request = CellsRequest(self.setup, self.jobs) if self.setup else None
        seconds = sum(job.timeout for job in self.jobs)
        return Task(self, request, tuple[CellAnswer, ...], seconds)

    def parts(self, size: int) -> Iterator[_Group]:
        """Groups of ``size`` cells each, in order."""
        for at in range(0, len(self.cells), size):
            to = at + size
            yield replace(self, cells=self.cells[at:to], jobs=self.jobs[at:to])


def _groups(
    cells: Sequence[Cell], shared: Job, opened: OpenedInputs, sources: Sources, size: int
) -> Iterator[_Group]:
    """All of ``cells`` in order; one target's come one after the other, and share its programs."""
    for target, group in groupby(cells, lambda cell: cell.target):
        whole = _Group(tuple(group))
        if target is not None:
            jobs = tuple(cell.job(shared) for cell in whole.cells)
            try:
                programs = programs_for(target, *jobs, sources=sources)
            except RelokitError as error:
                whole = replace(whole, error=error)
            else:
                setup = Setup(target, programs, shared, opened)
                whole = replace(whole, setup=setup, jobs=jobs)
        yield from whole.parts(size)


def _results(workers: Workers, groups: Iterable[_Group]) -> Iterator[CellResult]:
    """Those of all cells; what goes wrong with several is tried again, each alone."""
    for done in carried_out(workers, (group.task for group in groups), ahead=AHEAD):
        group = done.about
        if done.future is None:
            yield from (_not_run(cell, group.error) for cell in group.cells)
            continue
        answered = done.future.result()
        try:
            answers = answered.answer
        except RelokitError as error:
            if len(group.cells) > 1:
                yield from _results(workers, group.parts(1))
            else:
                yield _broken(group.cells[0], error, answered.seconds)
            continue
        yield from map(_result, group.cells, answers)


def _not_run(cell: Cell, error: RelokitError | None) -> CellResult:
    if error is None:
        return CellResult(cell, CellStatus.UNSUPPORTED, reason=cell.reason)
    return _broken(cell, error, 0.0)


def _result(cell: Cell, answer: CellAnswer) -> CellResult:
    """What became of one cell."""
    brief = answer.brief
    status, reason = CellStatus.PASS, None
    if brief.status is Status.NO_ANSWER:
        status, reason = CellStatus.NO_ANSWER, in_short(brief.findings)
    elif brief.status is not Status.PASS:
        status, reason = CellStatus.FAIL, in_short(brief.findings)
        defect = known_defect(cell, brief.findings, brief.not_judged)
        if defect is not None:
            status = CellStatus.KNOWN
            reason = f"{defect.rule}, since patch {defect.patch}: {defect.why}"
    return CellResult(
        cell,
        status,
        answer.seconds,
        brief.instructions,
        reason,
        brief.findings,
        brief.not_judged,
    )


def _broken(cell: Cell, error: RelokitError, seconds: float) -> CellResult:
    """A cell that came to no verdict: what was in the way is its finding."""
    crashed = isinstance(error, NativeCrashError)
    finding = Finding(
        rule="matrix.crash" if crashed else ERROR,
        message=error.message,
        place=error.where,
        notes=tuple(note for note in (error.text, error.hint) if note),
    )
    return CellResult(
        cell,
        CellStatus.NO_ANSWER if crashed else CellStatus.FAIL,
        seconds,
        reason=in_short((finding,)),
        findings=(finding,),
    )


def in_short(findings: tuple[Finding, ...]) -> str:
    """What a cell failed of, in a line."""
    # A warning may be told before the error that fails the cell.
    worst = next((finding for finding in findings if finding.is_error), findings[0])
    # What ran has its place in the finding; what did not, has nothing else to be known by.
    at = f"{worst.place}: " if worst.place and worst.rule == ERROR else ""
    first = f"{worst.rule}: {at}{worst.message}"
    more = len(findings) - 1
    return f"{first} (and {more} more)" if more else first
