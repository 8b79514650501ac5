"""Mutants of relocation code and its kin, each run and judged, on all cores.

>>> from relokit.mutate import MutationPlan, try_mutants
>>> for tried in try_mutants(MutationPlan()):       # doctest: +SKIP
...     print(tried.result.status, tried.mutant.text)
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

from relokit.arguments import job_or_default
from relokit.building import programs_for
from relokit.codegen.base.errors import NativeCrashError, RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.opened_inputs import open_inputs, target_for
from relokit.runtime.mutation.layouts import SECONDS, MoveLayout, layouts_for
from relokit.runtime.mutation.mutant import Mutant, MutantResult, MutantStatus, RoutineName
from relokit.runtime.mutation.mutant_survey import MutantSurvey, limited
from relokit.runtime.room.mutation_requests import SurveyRequest, TrialRequest
from relokit.runtime.room.requests import Setup
from relokit.workers import Task, Workers, carried_out

TOGETHER = 16
"""Mutants in one request: it costs as much to carry one as to try a tenth of one."""
AHEAD = 4
"""Requests a worker may be ahead."""
GRACE_OF_SURVEY = 60.0


@dataclass(frozen=True, slots=True)
class MutationPlan:
    """What to make mutants of. ``operators`` None are all."""

    targets: tuple[Target, ...] = (Target(),)
    routines: tuple[RoutineName, ...] = tuple(RoutineName)
    operators: frozenset[str] | None = None

    def wants(self, mutant: Mutant) -> bool:
        """Whether ``mutant`` is one of it."""
        return self.operators is None or mutant.operator in self.operators


@dataclass(frozen=True, slots=True)
class SurveyDone:
    """The mutants of a target, all that the plan wants, or why there are none."""

    target: Target
    survey: MutantSurvey | None
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one mutant."""

    target: Target
    mutant: Mutant
    result: MutantResult


@dataclass(frozen=True, slots=True)
class _Together:
    """Mutants of one target in one request."""

    setup: Setup
    layouts: tuple[MoveLayout, ...]
    mutants: tuple[Mutant, ...]

    @property
    def request(self) -> TrialRequest:
        return TrialRequest(self.setup, self.layouts, self.mutants)

    @property
    def seconds(self) -> float:
        """The most it can take before the guests' own limits end it."""
        return SECONDS * len(self.layouts) * len(self.mutants)

    def one_by_one(self) -> Iterator[_Together]:
        return (_Together(self.setup, self.layouts, (one,)) for one in self.mutants)


def try_mutants(
    plan: MutationPlan, job: Job | None = None, *, workers: Workers
) -> Generator[SurveyDone | Tried, None, None]:
    """MutantSurvey the targets of ``plan``, then try every mutant; results as they come.

    Of ``job`` count seed, templates and the shipped kernel whose code runs. Raises RelokitError
    for what no target could use. A mutant that takes the machine room down has no answer.
    """
    shared = job_or_default(job)
    opened = open_inputs(shared)
    setups = []
    for target in plan.targets:
        target = target_for(target, opened.code)
        jobs = [layout.job for layout in layouts_for(target, shared)]
        setups.append(Setup(target, programs_for(target, *jobs), shared, opened))
    batches: list[_Together] = []
    asked = (
        Task(setup, SurveyRequest(setup, plan.routines), MutantSurvey, GRACE_OF_SURVEY)
        for setup in setups
    )
    for done in carried_out(workers, asked, ahead=len(setups)):
        assert done.future is not None
        setup = done.about
        try:
            found = done.future.result().answer
        except RelokitError as error:
            yield SurveyDone(setup.target, None, str(error))
            continue
        wanted = replace(found, mutants=tuple(one for one in found.mutants if plan.wants(one)))
        yield SurveyDone(setup.target, wanted)
        batches += _batches(setup, wanted)
    yield from _try_all(workers, batches)


def _batches(setup: Setup, found: MutantSurvey) -> Iterator[_Together]:
    good = {one.name for one in found.layouts if one.why_not is None}
    layouts = tuple(
        limited(one, found.layouts)
        for one in layouts_for(setup.target, setup.job)
        if one.name in good
    )
    for at in range(0, len(found.mutants), TOGETHER):
        yield _Together(setup, layouts, found.mutants[at : at + TOGETHER])


def _try_all(workers: Workers, batches: Iterable[_Together]) -> Iterator[Tried]:
    """All of ``batches``; what took its room down is tried again alone."""
    answer = tuple[MutantResult, ...]
    lost: list[_Together] = []
    tasks = (Task(one, one.request, answer, one.seconds) for one in batches)
    for done in carried_out(workers, tasks, ahead=AHEAD, in_order=False):
        batch = done.about
        assert done.future is not None
        try:
            results = done.future.result().answer
        except NativeCrashError as error:
            if len(batch.mutants) > 1:
                lost += batch.one_by_one()
                continue
            [mutant] = batch.mutants
            results = (MutantResult(mutant.id, MutantStatus.NO_ANSWER, why=error.message),)
        for mutant, result in zip(batch.mutants, results, strict=True):
            yield Tried(batch.setup.target, mutant, result)
    if lost:
        yield from _try_all(workers, lost)
