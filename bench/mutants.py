"""Mutants a second, with one worker and with two."""

from __future__ import annotations

from statistics import median
from time import perf_counter

from measurement import Measurement, progress

from relokit.mutate import MutationPlan, Tried, try_mutants
from relokit.runtime.mutation.mutant import RoutineName
from relokit.workers import RoomWorkers

PLAN = MutationPlan(routines=(RoutineName.RELOCATION,), operators=frozenset({"drop", "weaken"}))
BOUND = 1.8
"""How many times as many two workers have to try."""


def mutants(rounds: int) -> list[Measurement]:
    """Some hundred mutants of the relocation code, the workers started and their code imported."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    with RoomWorkers(1) as one, RoomWorkers(2) as two:
        count = _tried(one)
        _tried(two)
        group = f"{count} mutants of the relocation code, run and judged"
        measurements = {
            1: Measurement(group, "one worker"),
            2: Measurement(group, f"two workers (bound: {BOUND} times as many a second)"),
        }
        for number in range(1, rounds + 1):
            for workers in (one, two):
                start = perf_counter()
                _tried(workers)
                seconds = perf_counter() - start
                measurements[workers.count].seconds.append(seconds)
                rates[workers.count].append(count / seconds)
            progress(
                f"mutants {number}/{rounds}: {rates[1][-1]:.0f}/s with one worker, "
                f"{rates[2][-1]:.0f}/s with two"
            )
    times = median(rates[2]) / median(rates[1])
    if times < BOUND:
        progress(f"mutants: two workers try {times:.2f} times as many; {BOUND} is the bound")
    return list(measurements.values())


def _tried(workers: RoomWorkers) -> int:
    return sum(isinstance(event, Tried) for event in try_mutants(PLAN, workers=workers))
