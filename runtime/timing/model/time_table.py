"""Every figure that is reported, beside what the model says: fitted, derived or predicted.

A row is only as good as what it was not told: an error stands where a row is predicted, and nowhere
else. Where figures contradict each other that is said, and nothing is bent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from enum import Enum
from itertools import combinations
from typing import ClassVar

import numpy as np

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.timing.counts import MoveCounts
from relokit.runtime.timing.model.beliefs import Beliefs, Estimate, Vector, value_and_slope
from relokit.runtime.timing.model.fitting import Fit, Measurement, fit
from relokit.runtime.timing.model.hardware import Hardware
from relokit.runtime.timing.model.hardware_file import RELATIVE, hardware, known_machines
from relokit.runtime.timing.model.reported import (
    FigureUnit,
    FigureUse,
    Reported,
    counts_of_accesses,
    reported_rows,
)
from relokit.runtime.timing.model.time_terms import Term, of_move, terms_of

CountsFor = Callable[[int, int], MoveCounts]
"""Counts of a move in a state of the series, of so many bytes."""
TOO_FAR = 1.959963984540054
"""Standard deviations at which two rows contradict each other: 5 %."""


class RowStatus(Enum):
    """What a row's figure is to the model."""

    FITTED = "fitted"
    DERIVED = "derived from fitted"
    PREDICTED = "predicted"


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: what is reported (from ``reported`` up to ``up_to``), and the model's ``value``.

    The reported figure is expected from ``low`` to ``high``: with 95 %, or, where the machine is
    not named, over ``machines``, those that were fitted; ``inside`` says whether it is. ``error``
    is the model's over the reported one, less 1: of a row that is predicted. ``perhaps`` is the
    same, were it ``supposed``, the machine that it may be. ``residual`` is what the fit leaves.
    """

    id: str
    what: str
    unit: str
    reported: float
    status: RowStatus
    low: float
    high: float
    inside: bool
    machines: tuple[str, ...]
    source: str
    value: float | None = field(default=None, metadata=ABSENT)
    up_to: float | None = field(default=None, metadata=ABSENT)
    at_least: bool = field(default=False, metadata=ABSENT)
    error: float | None = field(default=None, metadata=ABSENT)
    residual: float | None = field(default=None, metadata=ABSENT)
    perhaps: float | None = field(default=None, metadata=ABSENT)
    supposed: str = field(default="", metadata=ABSENT)
    note: str = field(default="", metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class LearntParameter:
    """A parameter of ``machine`` (of all, if empty): ``learnt`` by what, and the interval."""

    machine: str
    name: str
    learnt: str
    source: str
    value: float | None = field(default=None, metadata=ABSENT)
    low: float | None = field(default=None, metadata=ABSENT)
    high: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class Correlation:
    """How far two parameters are known together, from -1 (only their product) to 1 (quotient)."""

    one: str
    other: str
    correlation: float


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two rows that no time which grows with the size can have both: nanoseconds a byte of each."""

    one: str
    other: str
    one_ns: float
    other_ns: float


@dataclass(frozen=True, slots=True)
class TimeTable:
    """All rows; ``fitted`` numbers were given for ``free`` parameters that have no source."""

    SCHEMA: ClassVar[str] = "relokit.time-table/1"

    fitted: int
    free: int
    rows: tuple[TableRow, ...]
    parameters: tuple[LearntParameter, ...]
    correlations: tuple[Correlation, ...]
    contradictions: tuple[Contradiction, ...]


def reference_fit(
    counts_for: CountsFor,
    more: Iterable[Hardware] = (),
    measurements: Sequence[Measurement] = (),
) -> Fit:
    """What the rows that are to be fitted say of the machines that come with relokit.

    ``measurements`` of ``more`` machines are taken with them.
    """
    own = [
        Measurement(row.id, _terms(row, hardware(row.machine), counts_for), row.value, RELATIVE)
        for row in reported_rows()
        if row.use is FigureUse.FIT
    ]
    machines = [*map(hardware, known_machines()), *more]
    return fit(machines, [*own, *measurements])


def time_table(counts_for: CountsFor) -> TimeTable:
    """The table, by counts that ``counts_for`` makes."""
    found = reference_fit(counts_for)
    rows = {row.id: row for row in reported_rows()}
    fitted = [row for row in rows.values() if row.use is FigureUse.FIT]
    machines = tuple(dict.fromkeys(row.machine for row in fitted))
    table = _Table(found.beliefs, counts_for, rows, machines)
    return TimeTable(
        len(fitted),
        len(found.free),
        tuple(table.row(row) for row in rows.values()),
        learnt(found),
        correlations(found.beliefs),
        tuple(_contradictions(rows.values())),
    )


def learnt(found: Fit, machines: Iterable[Hardware] = ()) -> tuple[LearntParameter, ...]:
    """Every parameter that is not a constant; ``machines`` are those beside relokit's own."""
    by_key = {one.key: one for one in (*map(hardware, known_machines()), *machines)}
    anyone = next(iter(by_key.values()))
    rows = []
    for unknown in found.beliefs.unknowns:
        owner = by_key.get(unknown.machine, anyone)
        given = (owner.own if unknown.machine else owner.shared)[unknown.name]
        now = found.beliefs.parameter(unknown)
        rows.append(
            LearntParameter(
                unknown.machine,
                unknown.name.value,
                _learnt(found, unknown in found.free, given.low, given.high, now),
                given.source,
                *((now.value, now.low, now.high) if now else (None, None, None)),
            )
        )
    return tuple(rows)


def correlations(beliefs: Beliefs) -> tuple[Correlation, ...]:
    """Those that are worth being told."""
    return tuple(
        Correlation(str(one), str(other), value) for one, other, value in beliefs.correlations()
    )


def _learnt(
    found: Fit, free: bool, low: float | None, high: float | None, now: Estimate | None
) -> str:
    if now is None:
        return "not determined"
    if free:
        return "by the measurements"
    if low is None or high is None:
        return "as its source has it"
    narrowed = math.log(now.high / now.low) / math.log(high / low)
    return "as its source has it" if narrowed > 0.9 else "by its source and the measurements"


class _Table:
    """Values of rows, with what they depend on."""

    def __init__(
        self,
        beliefs: Beliefs,
        counts_for: CountsFor,
        rows: dict[str, Reported],
        machines: tuple[str, ...],
    ) -> None:
        self._beliefs, self._counts_for = beliefs, counts_for
        self._rows, self._machines = rows, machines

    def row(self, row: Reported) -> TableRow:
        """The row as the model has it."""
        status = self._status(row)
        parts = [self._rows[name] for name in row.of] or [row]
        named = parts[0].machine
        machines = (named,) if named else self._machines
        each = [self._estimate(row, machine, status) for machine in machines]
        least, most = row.bounds
        if named:
            [one] = each
            value, low, high = one.value, one.low, one.high
        else:
            value = None
            low, high = min(one.low for one in each), max(one.high for one in each)
        predicted = status is RowStatus.PREDICTED and value is not None
        supposed = parts[0].perhaps
        perhaps = self._estimate(row, supposed, status).value if supposed else None
        return TableRow(
            id=row.id,
            what=row.what,
            unit=row.unit.value,
            reported=row.value,
            status=status,
            low=low,
            high=high,
            inside=low <= most and least <= high,
            machines=machines,
            source=row.source,
            value=value,
            up_to=row.up_to,
            at_least=row.at_least,
            error=_error(value, row) if predicted else None,
            residual=_error(value, row) if named and not predicted else None,
            perhaps=_error(perhaps, row),
            supposed=supposed,
            note=row.note,
        )

    def _status(self, row: Reported) -> RowStatus:
        if row.use is FigureUse.FIT:
            return RowStatus.FITTED
        if row.of and all(self._rows[name].use is FigureUse.FIT for name in row.of):
            return RowStatus.DERIVED
        return RowStatus.PREDICTED

    def _estimate(self, row: Reported, machine: str, status: RowStatus) -> Estimate:
        """On ``machine``; a measurement of it that was not given has an error of its own."""
        noise = RELATIVE if status is RowStatus.PREDICTED else 0.0
        beliefs = self._beliefs
        times = []
        slopes: list[Vector] = []
        for name in row.of or (row.id,):
            terms = _terms(self._rows[name], hardware(machine), self._counts_for)
            nanoseconds, slope = value_and_slope(terms, beliefs.place, beliefs.means)
            times.append(nanoseconds * 1e-9)
            slopes.append(slope)
        value, weights = _combined(row, times)
        slope = np.sum([weight * one for weight, one in zip(weights, slopes, strict=True)], axis=0)
        variance = float(slope @ beliefs.covariance @ slope)
        variance += noise**2 * sum(weight**2 for weight in weights)
        return Estimate.of(value, math.sqrt(max(0.0, variance)))


def _combined(row: Reported, times: list[float]) -> tuple[float, list[float]]:
    """What the row is of these times, and the derivatives of its logarithm by theirs."""
    before, after = sum(row.beside), sum(row.beside_after)
    match row.unit:
        case FigureUnit.TIMES:
            whole, rest = times[0] + before, times[1] + after
            return whole / rest, [times[0] / whole, -times[1] / rest]
        case FigureUnit.SAVED:
            saved = times[0] - times[1]
            return saved, [times[0] / saved, -times[1] / saved]
        case FigureUnit.SHARE:
            whole = times[0] + before
            return 100 * times[0] / whole, [before / whole]
    return times[0], [1.0]


def _terms(row: Reported, machine: Hardware, counts_for: CountsFor) -> tuple[Term, ...]:
    if row.series is None:
        return terms_of(counts_of_accesses(row), machine)
    return of_move(terms_of(counts_for(row.series, row.bytes), machine))


def _error(value: float | None, row: Reported) -> float | None:
    """Of a single figure; a range, and a bound, have none."""
    if value is None or row.up_to is not None or row.at_least:
        return None
    return value / row.value - 1


def _contradictions(rows: Iterable[Reported]) -> Iterable[Contradiction]:
    """Times of one machine in one state that are too far from one line through nothing."""
    timed = [row for row in rows if row.machine and row.series is not None and not row.at_least]
    for one, other in combinations(timed, 2):
        if (one.machine, one.series) != (other.machine, other.series):
            continue
        rates = one.value / one.bytes, other.value / other.bytes
        if abs(math.log(rates[0] / rates[1])) > TOO_FAR * RELATIVE * math.sqrt(2):
            yield Contradiction(one.id, other.id, rates[0] * 1e9, rates[1] * 1e9)
