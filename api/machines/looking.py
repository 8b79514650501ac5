"""Machines and stored records as things to ask: what a notebook holds on to.

>>> from relokit.machines.looking import machine
>>> guest = machine()
>>> guest.run().passed
True
>>> guest.steps(last=1).steps[0].text
'msr daifset, #15'
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relokit.arguments import job_or_default, target_or_default
from relokit.codegen.base.coercion import argument
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Target
from relokit.machines.showing import evidence_in, show, show_evidence
from relokit.machines.snapshots import check_makes_no_machine, take_up
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, TraceFormat
from relokit.runtime.record.known import known
from relokit.runtime.show.shown.question import Moment, Question, Topic

if TYPE_CHECKING:
    from relokit.runtime.evidence.evidence import Evidence
    from relokit.runtime.record.trace import Records
    from relokit.runtime.show.shown.code_shown import CodeShown, VectorsShown
    from relokit.runtime.show.shown.list_shown import ListShown
    from relokit.runtime.show.shown.memory_shown import MemoryShown
    from relokit.runtime.show.shown.steps_shown import StepsShown
    from relokit.runtime.show.shown.tables_shown import TablesShown
    from relokit.runtime.show.shown.timeline_shown import TimelineShown
    from relokit.runtime.snapshot.snapshot import Snapshot
    from relokit.session import Progress

Place = int | str
"""An address (VA), or the name of a symbol of the kernel that is left."""


class _Shows(ABC):
    """What ``relokit show`` has, by name; ``at`` is ``start``, ``jump`` or ``kernel``.

    Each answer is a noun that a notebook draws. Raises RelokitError for a moment that the machine
    does not come to, and for a place that is not there.
    """

    __slots__ = ()

    @abstractmethod
    def ask(self, question: Question) -> Any:
        """What ``question`` asks for, as a noun of its topic."""

    def memory(self, at: Moment | str = Moment.START) -> MemoryShown:
        """Who owns RAM, by PA, and from where each segment comes."""
        found: MemoryShown = self.ask(_question(Topic.MEMORY, at))
        return found

    def page_list(
        self, at: Moment | str = Moment.START, first: int = 0, last: int | None = None
    ) -> ListShown:
        """struct kimage and the list, entries ``first`` to ``last`` of it (0 is head)."""
        found: ListShown = self.ask(_question(Topic.LIST, at, first=first, last=last))
        return found

    def tables(self, at: Moment | str = Moment.START) -> TablesShown:
        """What each TTBR of each regime leads to, and what that maps."""
        found: TablesShown = self.ask(_question(Topic.TABLES, at))
        return found

    def walk(self, place: Place, at: Moment | str = Moment.START) -> TablesShown:
        """How a VA translates in each regime, descriptor by descriptor: its ``walks``."""
        found: TablesShown = self.ask(_question(Topic.TABLES, at, place))
        return found

    def vectors(self, at: Moment | str = Moment.START) -> VectorsShown:
        """What VBAR of each level leads to, slot by slot."""
        found: VectorsShown = self.ask(_question(Topic.VECTORS, at))
        return found

    def code(self, place: Place | None = None, at: Moment | str = Moment.START) -> CodeShown:
        """What is copied to safe pages, or what would be fetched from ``place``."""
        found: CodeShown = self.ask(_question(Topic.CODE, at, place))
        return found

    def timeline(self) -> TimelineShown:
        """Exception level, MMU, TTBR0, TTBR1 and VBAR by the number of instructions."""
        found: TimelineShown = self.ask(Question(Topic.TIMELINE))
        return found

    def steps(
        self, first: int = 0, last: int | None = None, until: Place | None = None
    ) -> StepsShown:
        """Instructions ``first`` to ``last`` with the registers that change, 64 by default, and
        none from the one at ``until`` on; 0 is machine_kexec's first.
        """
        found: StepsShown = self.ask(
            _question(Topic.TRACE, Moment.START, first=first, last=last, until=until)
        )
        return found


def _question(
    topic: Topic,
    at: Moment | str,
    place: Place | None = None,
    *,
    first: int = 0,
    last: int | None = None,
    until: Place | None = None,
) -> Question:
    moment = argument("at", at, Moment)
    return Question(topic, moment, place, first, last, until)


@dataclass(frozen=True)
class BuiltMachine(_Shows):
    """The machine that ``job`` describes, for ``target``: built anew for each question."""

    target: Target
    job: Job

    def ask(self, question: Question) -> Any:
        """See :func:`relokit.show`."""
        return show(question, self.target, self.job)

    def run(self, *, trace: Path | None = None, progress: Progress | None = None) -> Outcome:
        """Let it run, and judge it; see :func:`relokit.run`."""
        from relokit.facade import run

        return run(self.target, self.job, trace=trace, progress=progress)


@dataclass(frozen=True)
class StoppedMachine(_Shows):
    """The machine in the snapshot in ``directory``; ``job`` has the limits of what it does."""

    directory: Path
    job: Job
    snapshot: Snapshot

    def ask(self, question: Question) -> Any:
        """See :func:`relokit.show`."""
        return show(question, job=self.job, snapshot=self.directory)

    def run(self, *, trace: Path | None = None, progress: Progress | None = None) -> Outcome:
        """Let it go on, and judge it; see :func:`relokit.take_up`."""
        return take_up(self.directory, self.job, trace=trace, progress=progress)


@dataclass(frozen=True)
class StoredRecord(_Shows):
    """The trace in the file ``path``, with what else its run left: what is judged again.

    It has no guest memory: ``page_list``, ``vectors`` and ``code`` of a place raise FormatError.
    """

    path: Path
    evidence: Evidence

    def __repr__(self) -> str:
        trace, of = known(self.evidence.record.trace), self.evidence.subject.name
        told = f"{len(trace.records):,} records of {trace.instructions:,} instructions"
        return f"<StoredRecord {self.path}: {told}, {of}>"

    @cached_property
    def records(self) -> Records:
        """What the CPU did, in program order: a read-only array of the columns of docs/trace.md."""
        return known(self.evidence.record.trace).records

    def ask(self, question: Question) -> Any:
        """See :func:`relokit.show_record`."""
        return show_evidence(question, self.evidence, str(self.path))

    def judge(self, *, strict: bool = False, profile: str | None = None) -> Outcome:
        """What the book says of it; see :func:`relokit.judge`."""
        from relokit.facade import judge

        return judge(self.path, strict=strict, profile=profile)

    def write(self, path: Path, trace_format: TraceFormat) -> None:
        """Write it in another tool's format to ``path``."""
        from relokit.facade import judge

        judge(self.path, trace=path, trace_format=trace_format)


def machine(target: Target | None = None, job: Job | None = None) -> BuiltMachine:
    """The machine that :func:`relokit.run` would run: nothing is built before it is asked.

    Raises RelokitError for what is neither a Target nor a Job.
    """
    return BuiltMachine(target_or_default(target), job_or_default(job))


def stopped_machine(directory: Path, job: Job | None = None) -> StoppedMachine:
    """The machine in the snapshot in ``directory``; see :func:`relokit.take_up`."""
    from relokit.runtime.snapshot.snapshot_reading import read_snapshot

    job = job_or_default(job)
    check_makes_no_machine(job)
    return StoppedMachine(directory, job, read_snapshot(directory))


def stored_record(path: Path) -> StoredRecord:
    """The trace in the file ``path``, which ``relokit.run`` wrote; raises FormatError."""
    return StoredRecord(path, evidence_in(path))
