"""Cells of the matrix and mutants a second, with one worker and with two."""

from __future__ import annotations

from time import perf_counter

from measurement import Bound, Row, Table, progress
from stages import Installation

from relokit.mutation.mutate import MutationPlan, Tried, try_mutants
from relokit.runtime.mutation.mutant import RoutineName
from relokit.workers import RoomWorkers

PLAN = MutationPlan(routines=(RoutineName.RELOCATION,), operators=frozenset({"drop", "weaken"}))
ONE, TWO = "1 worker", "2 workers"
NARROW = ("--va-bits", "36,39,42,47,48")
"""All but 52-bit addresses, which the first stage refuses."""
CELLS = ("--series", "0,7,12,15", *NARROW)
"""What the matrix runs here and beside the first stage."""


def many(ours: Installation, rounds: int) -> list[Table]:
    """Everything is judged by every book, but where a row says plain. Half as many rounds do."""
    rounds = (rounds + 1) // 2
    judged = Row("Cells of the matrix", "a second", (Bound(TWO, 75, more=True),))
    plain = Row("Cells of the matrix, plain", "a second")
    for _ in range(rounds):
        for row, options in ((judged, ()), (plain, ("--plain",))):
            for column, jobs in ((ONE, "1"), (TWO, "2")):
                document = ours.passed("matrix", "--json", "--jobs", jobs, *options, *CELLS)
                row.add(column, document["cells_per_second"])
            progress(row.told())
    return [Table("Many at a time", [judged, plain, _mutants(rounds)])]


def _mutants(rounds: int) -> Row:
    """Some hundred mutants of the relocation code, the workers started and their code imported."""
    row = Row("Mutants", "a second", (Bound(TWO, 1.8, ONE, more=True),))
    with RoomWorkers(1) as one, RoomWorkers(2) as two:
        for workers in (one, two):
            _tried(workers)
        for _ in range(rounds):
            for column, workers in ((ONE, one), (TWO, two)):
                start = perf_counter()
                row.add(column, _tried(workers) / (perf_counter() - start))
            progress(row.told())
    return row


def _tried(workers: RoomWorkers) -> int:
    return sum(isinstance(event, Tried) for event in try_mutants(PLAN, workers=workers))
