"""How long a move takes: counts of it, machines, and what is reported of some."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from relokit.arguments import job_or_default, target_or_default
from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.timing.counts import OF_THE_MOVE, MoveCounts, Phase
from relokit.runtime.timing.model.beliefs import Beliefs, Estimate
from relokit.runtime.timing.model.fitting import Fit, Measurement
from relokit.runtime.timing.model.hardware import Hardware
from relokit.runtime.timing.model.hardware_file import (
    hardware,
    known_machines,
    parse_size,
    read_measurements,
)
from relokit.runtime.timing.model.time_table import (
    LearntParameter,
    TimeTable,
    learnt,
    reference_fit,
    time_table,
)
from relokit.runtime.timing.model.time_terms import of_move, terms_of
from relokit.runtime.timing.scaling import SAMPLES, Scale
from relokit.session import Session, process_session

if TYPE_CHECKING:
    from relokit.linker.kernel.opened import Files

CountMove = Callable[[Target, Job], MoveCounts]


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """``seconds``, and from ``low`` to ``high`` with 95 %."""

    seconds: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """What ``phase`` takes; None where a parameter is not known."""

    phase: Phase
    time: TimeSpan | None


@dataclass(frozen=True, slots=True)
class MachineTimes:
    """On the machine of this key: each phase, and ``move``, those from the jump up to the entry."""

    machine: str
    name: str
    phases: tuple[PhaseTime, ...]
    move: TimeSpan | None


@dataclass(frozen=True, slots=True)
class MoveTimes:
    """A move in a state of the series: its counts, and times on machines.

    ``scaled`` says that the counts are those of small moves, which it is a sum over.
    """

    series: int
    scaled: bool
    counts: MoveCounts
    machines: tuple[MachineTimes, ...]


@dataclass(frozen=True, slots=True)
class TimeReport:
    """``states`` in their order; ``parameters`` of a person's own machine, if there is one."""

    SCHEMA: ClassVar[str] = "relokit.time/1"

    states: tuple[MoveTimes, ...]
    parameters: tuple[LearntParameter, ...] | None = field(default=None, metadata=ABSENT)


def count_of(
    target: Target | None = None, job: Job | None = None, *, files: Files | None = None
) -> MoveCounts:
    """What a move does, counted. One of more bytes than SAMPLES is computed from those."""
    counted = counting(process_session(), files)
    return counted(target_or_default(target), job_or_default(job))


def count_of_trace(path: Path) -> tuple[int, MoveCounts]:
    """The state of the series and the counts of the trace in the file ``path``; nothing is run.

    Raises FormatError for whatever else it is, and for one that cannot be counted.
    """
    from relokit.runtime.evidence.evidence_file import CONTRADICTIONS, MAKE_AGAIN, parse_evidence
    from relokit.runtime.record.known import UnknownFactError
    from relokit.runtime.record.trace_file import read_trace
    from relokit.runtime.run.count_move import at_the_jump
    from relokit.runtime.timing.counted import counts_of

    evidence, _ = parse_evidence(read_trace(path), where=str(path))
    subject = evidence.subject
    try:
        counts = counts_of(evidence.record, subject.name, subject.target.page_size, subject.pages)
    except UnknownFactError as missing:
        raise FormatError(
            f"the move cannot be counted: {missing}", where=str(path), hint=MAKE_AGAIN
        ) from None
    except CONTRADICTIONS as error:
        raise FormatError(
            f"its facts contradict each other ({type(error).__name__}: {str(error)[:80]})",
            where=str(path),
            hint=MAKE_AGAIN,
        ) from None
    return subject.target.series, counts.with_kernel_c(at_the_jump(subject.maintenance))


def times_of_trace(
    path: Path, *, machines: Sequence[str] = (), measured: Path | None = None
) -> TimeReport:
    """What the move in a trace takes; all else is as for :func:`times`."""
    series, counts = count_of_trace(path)
    chosen, beliefs, parameters = _machines(counting(process_session(), None), machines, measured)
    state = MoveTimes(
        series, False, counts, tuple(machine_times(counts, one, beliefs) for one in chosen)
    )
    return TimeReport((state,), parameters)


def times(
    targets: Iterable[Target],
    job: Job,
    *,
    machines: Sequence[str] = (),
    measured: Path | None = None,
    by_pages: bool = False,
    files: Files | None = None,
) -> TimeReport:
    """What a move takes in each of ``targets``, on ``machines`` (by default: on all).

    ``measured`` is a person's file of measurements, whose machine it is then. ``by_pages``: tables
    have no blocks. Raises RelokitError
    for bad input.
    """
    count = counting(process_session(), files)
    chosen, beliefs, parameters = _machines(count, machines, measured)
    states = []
    for target in targets:
        counts = count(target, job)
        if by_pages:
            counts = counts.by_pages()
        states.append(_move_times(target, job, counts, chosen, beliefs))
    return TimeReport(tuple(states), parameters)


def table(session: Session | None = None) -> TimeTable:
    """Every figure that the series reports, beside what the model says."""
    return time_table(for_reference(counting(session or process_session(), None)))


def _machines(
    count: CountMove, machines: Sequence[str], measured: Path | None
) -> tuple[list[Hardware], Beliefs, tuple[LearntParameter, ...] | None]:
    """Those that are asked for, what is known of them, and the parameters of one's own."""
    if measured is None:
        chosen = [hardware(key) for key in machines or known_machines()]
        return chosen, reference_fit(for_reference(count)).beliefs, None
    own, fit = _own_fit(measured, count)
    return [own], fit.beliefs, _of_machine(learnt(fit, [own]), own)


def _own_fit(path: Path, count: CountMove) -> tuple[Hardware, Fit]:
    own, file = read_measurements(path)
    measurements = []
    for number, one in enumerate(file.measurement, 1):
        target = Target(series=one.series, page_size=one.page_size)
        counts = count(target, Job(size=parse_size(one.size, str(path))))
        terms = of_move(terms_of(counts, own))
        measurements.append(Measurement(f"measurement {number}", terms, one.seconds, one.relative))
    return own, reference_fit(for_reference(count), [own], measurements)


def _of_machine(rows: Iterable[LearntParameter], machine: Hardware) -> tuple[LearntParameter, ...]:
    return tuple(row for row in rows if row.machine in ("", machine.key))


def _move_times(
    target: Target, job: Job, counts: MoveCounts, machines: Iterable[Hardware], beliefs: Beliefs
) -> MoveTimes:
    return MoveTimes(
        target.series,
        _is_scaled(job),
        counts,
        tuple(machine_times(counts, one, beliefs) for one in machines),
    )


def machine_times(counts: MoveCounts, machine: Hardware, beliefs: Beliefs) -> MachineTimes:
    """What ``counts`` take on ``machine``."""
    terms = terms_of(counts, machine)
    phases = []
    for phase in Phase:
        own = [term for term in terms if term.phase is phase]
        if own or phase in OF_THE_MOVE:
            phases.append(PhaseTime(phase, _span(beliefs.time(own))))
    return MachineTimes(
        machine.key, machine.name, tuple(phases), _span(beliefs.time(of_move(terms)))
    )


def _span(estimate: Estimate | None) -> TimeSpan | None:
    return None if estimate is None else TimeSpan(estimate.value, estimate.low, estimate.high)


def _is_scaled(job: Job) -> bool:
    return job.size is not None and job.size > SAMPLES[-1]


def counting(session: Session, files: Files | None) -> CountMove:
    """What counts moves, each machine of samples once."""

    @cache
    def scale(target: Target, job: Job) -> Scale:
        small, middle, large = (
            session.count(target, replace(job, size=size), files=files) for size in SAMPLES
        )
        return Scale((small, middle, large))

    def count(target: Target, job: Job) -> MoveCounts:
        if job.size is not None and _is_scaled(job):
            return scale(target, replace(job, size=SAMPLES[0])).at(job.size)
        return session.count(target, job, files=files)

    return count


def for_reference(count: CountMove) -> Callable[[int, int], MoveCounts]:
    """Counts for the reported rows: a kernel entered at EL2, pages of 4 KiB, lines of 64 bytes."""

    def counts_for(series: int, size: int) -> MoveCounts:
        return count(Target(series=series, regime=Regime.NVHE), Job(size=size))

    return counts_for
