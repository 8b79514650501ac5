"""How long a move takes: counts of it, machines, and what is reported of some."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.errors import FormatError, RelokitError
from relokit.codegen.base.host_file import reading
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.timing.counts import OF_THE_MOVE, MoveCounts, Phase
from relokit.runtime.timing.model.beliefs import Beliefs, Estimate
from relokit.runtime.timing.model.fitting import Measurement
from relokit.runtime.timing.model.hardware import Hardware, ParameterName
from relokit.runtime.timing.model.hardware_file import (
    hardware,
    known_machines,
    parse_size,
    read_measurements,
)
from relokit.runtime.timing.model.time_table import (
    Correlation,
    LearntParameter,
    TimeTable,
    correlations,
    learnt,
    reference_fit,
    time_table,
)
from relokit.runtime.timing.model.time_terms import of_move, terms_of
from relokit.runtime.timing.scaling import SAMPLES, Scale
from relokit.session import Session, process_session

if TYPE_CHECKING:
    from relokit.linker.kernel.opened import Files


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
    """A move in a state of the series: its counts, and times on machines, if any were asked for.

    ``scaled`` says that the counts are those of small moves, which it is a sum over.
    """

    series: int
    scaled: bool
    counts: MoveCounts
    machines: tuple[MachineTimes, ...]


@dataclass(frozen=True, slots=True)
class FittedTime:
    """A person's measurement, by its ``number`` in the file, and what the fit has in its place.

    ``residual`` is how far that is from what was measured, relative to it; ``sds`` in standard
    deviations of the measurement: with more than two, the model does not explain it.
    """

    number: int
    measured: float
    fitted: float
    residual: float
    sds: float


@dataclass(frozen=True, slots=True)
class TimeReport:
    """``states`` in their order.

    ``parameters`` are those of a person's own machine, if there is one, and of all; ``measured``
    are that person's measurements, in their order; ``correlations`` are between any.
    """

    SCHEMA: ClassVar[str] = "relokit.time/1"

    states: tuple[MoveTimes, ...]
    parameters: tuple[LearntParameter, ...] | None = field(default=None, metadata=ABSENT)
    measured: tuple[FittedTime, ...] | None = field(default=None, metadata=ABSENT)
    correlations: tuple[Correlation, ...] | None = field(default=None, metadata=ABSENT)


class Timer:
    """Counts moves in the rooms of ``session``, each small move once, and says what they take.

    ``files`` has what is open already. Methods raise RelokitError for bad input, and MachineError
    for what cannot be counted.
    """

    def __init__(self, session: Session | None = None, files: Files | None = None) -> None:
        self._session = session or process_session()
        self._files = files
        self._scales: dict[tuple[Target, Job], Scale] = {}

    def count(self, target: Target, job: Job) -> MoveCounts:
        """What a move does, counted. One of more bytes than SAMPLES is computed from those."""
        if job.size is None or not _is_scaled(job):
            return self._session.count(target, job, files=self._files)
        key = target, replace(job, size=SAMPLES[0])
        if key not in self._scales:
            small, middle, large = (
                self._session.count(target, replace(job, size=size), files=self._files)
                for size in SAMPLES
            )
            self._scales[key] = Scale((small, middle, large))
        return self._scales[key].at(job.size)

    def count_reference(self, series: int, size: int) -> MoveCounts:
        """For reported rows: a kernel entered at EL2, pages of 4 KiB, lines of 64 bytes."""
        return self.count(Target(series=series, regime=Regime.NVHE), Job(size=size))

    def moves(
        self, targets: Iterable[Target], job: Job, *, by_pages: bool = False
    ) -> tuple[MoveTimes, ...]:
        """What ``job`` does in each of ``targets``; ``by_pages``: tables have no blocks."""
        found = ((target.series, self.count(target, job)) for target in targets)
        return tuple(
            MoveTimes(series, _is_scaled(job), counts.by_pages() if by_pages else counts, ())
            for series, counts in found
        )

    def times(
        self,
        moves: Iterable[MoveTimes],
        *,
        machines: Sequence[str] = (),
        measured: Path | None = None,
    ) -> TimeReport:
        """What ``moves`` take on ``machines`` (by default: on all).

        ``measured`` is a person's file of measurements, whose machine it is then.
        """
        if measured is None:
            chosen = [hardware(key) for key in machines or known_machines()]
            beliefs, own = reference_fit(self.count_reference).beliefs, None
        else:
            beliefs, own = self._own(measured)
            chosen = [own.machine]
        states = tuple(
            replace(
                move, machines=tuple(machine_times(move.counts, one, beliefs) for one in chosen)
            )
            for move in moves
        )
        if own is None:
            return TimeReport(states)
        return TimeReport(states, own.parameters, own.measured, correlations(beliefs))

    def table(self) -> TimeTable:
        """Every figure that the series reports, beside what the model says."""
        return time_table(self.count_reference)

    def _own(self, path: Path) -> tuple[Beliefs, _Own]:
        """What is known with a person's file of measurements, and what of it is that machine's."""
        machine, file = read_measurements(path)
        measurements = []
        for number, one in enumerate(file.measurement, 1):
            where = f"{path}: measurement {number}"
            try:
                target = Target(series=one.series, page_size=one.page_size)
            except RelokitError as error:
                raise FormatError(error.message, where=where, hint=error.hint) from None
            counts = self.count(target, Job(size=parse_size(one.size, where)))
            terms = of_move(terms_of(counts, machine))
            measurements.append(Measurement(where, terms, one.seconds, one.relative))
        found = reference_fit(self.count_reference, [machine], measurements)
        mine = {machine.unknown(name) for name in ParameterName if machine.has(name)}
        names = {(key.machine, key.name.value) for key in mine}
        rows = [row for row in learnt(found, [machine]) if (row.machine, row.name) in names]
        left = dict(found.residuals)
        fitted = [
            FittedTime(
                number,
                one.seconds,
                one.seconds * math.exp(left[one.name]),
                math.expm1(left[one.name]),
                left[one.name] / one.sd,
            )
            for number, one in enumerate(measurements, 1)
        ]
        return found.beliefs, _Own(machine, tuple(rows), tuple(fitted))


@dataclass(frozen=True, slots=True)
class _Own:
    """A person's machine, its parameters, and what was measured of it."""

    machine: Hardware
    parameters: tuple[LearntParameter, ...]
    measured: tuple[FittedTime, ...]


@reading()
def move_of_trace(path: Path) -> MoveTimes:
    """What was done in the trace in the file ``path``, counted; nothing is run.

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
    counts = counts.with_kernel_c(at_the_jump(subject.maintenance))
    return MoveTimes(subject.target.series, False, counts, ())


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
