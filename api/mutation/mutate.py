"""Mutants of relocation code and its kin, each run and judged, on all cores.

>>> from relokit.mutation.mutate import MutationPlan, try_mutants
>>> for tried in try_mutants(MutationPlan()):       # doctest: +SKIP
...     print(tried.result.status, tried.mutant.text)
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from relokit.arguments import job_or_default
from relokit.building import encoder, programs_for, sources_of
from relokit.codegen.base.documents import from_json, to_json
from relokit.codegen.base.errors import FormatError, NativeCrashError, RelokitError, TargetError
from relokit.codegen.base.host_file import check_unchanged
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kexec_routines import KexecRoutine
from relokit.codegen.target import Regime, Target
from relokit.linker.foreign.code import ForeignCode, target_for
from relokit.linker.kernel.opened import Files
from relokit.runtime.campaign.result_file import KEY_BYTES, ResultFile
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.opened_inputs import open_inputs
from relokit.runtime.mutation.layouts import SECONDS, MoveLayout, layouts_for
from relokit.runtime.mutation.mutant import Mutant, MutantResult, MutantStatus, RoutineName
from relokit.runtime.mutation.mutant_survey import MutantSurvey, limited
from relokit.runtime.room.mutation_requests import SurveyRequest, TrialRequest
from relokit.runtime.room.requests import Setup
from relokit.source_digest import source_digest
from relokit.workers import Task, Workers, carried_out

TOGETHER = 16
"""Mutants in one request, at most: it costs as much to carry one as to try a tenth of one."""
EACH = 8
"""Requests that each worker gets at least, if there are so many mutants: all end at one time."""
_MUTATED = frozenset({*KexecRoutine} - {KexecRoutine.HYP_STUB})
"""What mutants are made of; DATA is of no file."""
AHEAD = 4
"""Requests a worker may be ahead."""


@dataclass(frozen=True, slots=True)
class MutationPlan:
    """What to make mutants of, and in which ``regimes`` to try them. ``operators`` None are all,
    ``routines`` None all that there are, of foreign code all that its file has.

    Code is the same in every regime, so a target's own does not count.
    """

    targets: tuple[Target, ...] = (Target(),)
    regimes: tuple[Regime, ...] = tuple(Regime)
    routines: tuple[RoutineName, ...] | None = None
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
    """What became of one mutant; ``taken`` says that it was known already."""

    target: Target
    mutant: Mutant
    result: MutantResult
    taken: bool = False


class _Keys:
    """The mutants of ``asked`` in the file ``known``, if there is one."""

    def __init__(self, asked: SurveyRequest, known: ResultFile | None) -> None:
        self._known = known
        self._prefix = b"" if known is None else _digest_of(asked)

    def result_of(self, mutant: Mutant) -> MutantResult | None:
        """What is known to have become of it."""
        if self._known is None:
            return None
        found = self._known.get(self._key(mutant))
        if found is None:
            return None
        result = from_json(MutantResult, found)
        if result.id != mutant.id:
            raise FormatError("a result of another mutant", where=str(self._known.path))
        return result

    def keep(self, results: Iterable[MutantResult], mutants: Iterable[Mutant]) -> None:
        """Write down the ``results`` of ``mutants``, but for those without an answer."""
        if self._known is not None:
            self._known.put(
                (self._key(mutant), to_json(result))
                for mutant, result in zip(mutants, results, strict=True)
                if result.status is not MutantStatus.NO_ANSWER
            )

    def _key(self, mutant: Mutant) -> bytes:
        return blake2b(self._prefix + to_json(mutant), digest_size=KEY_BYTES).digest()


def _digest_of(asked: SurveyRequest) -> bytes:
    """What results depend on, beside the mutant and our own code."""
    setup = asked.setup
    code = setup.opened.code
    # Which code there is stands in the program; the version is what the C half goes by.
    version = "" if code is None else code.version or ""
    # Not which file the code was in.
    layouts = [
        replace(one, job=replace(one.job, code_from=None, include_dir=None))
        for one in asked.layouts
    ]
    digest = blake2b(digest_size=KEY_BYTES)
    named = to_json((setup.target, *layouts))
    for part in (named, setup.programs.kernel, version.encode()):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class _Together:
    """Mutants of one target in one request."""

    setup: Setup
    layouts: tuple[MoveLayout, ...]
    mutants: tuple[Mutant, ...]
    keys: _Keys

    @property
    def request(self) -> TrialRequest:
        return TrialRequest(self.setup, self.layouts, self.mutants)

    @property
    def seconds(self) -> float:
        """The most it can take before the guests' own limits end it."""
        return SECONDS * len(self.layouts) * len(self.mutants)

    def one_by_one(self) -> Iterator[_Together]:
        return (replace(self, mutants=(one,)) for one in self.mutants)


@contextmanager
def opened_results(path: Path | None) -> Iterator[ResultFile | None]:
    """The results in the file at ``path``, by this very code; None without one."""
    if path is None:
        yield None
        return
    with ResultFile(path, source_digest()) as known:
        yield known


def try_mutants(
    plan: MutationPlan,
    job: Job | None = None,
    *,
    workers: Workers,
    known: ResultFile | None = None,
    files: Files | None = None,
) -> Generator[SurveyDone | Tried, None, None]:
    """MutantSurvey the targets of ``plan``, then try every mutant; results as they come.

    Of ``job`` count seed, templates and the file whose code runs, which ``files`` may have open.
    Raises RelokitError
    for what no target could use. A mutant that takes the machine room down has no answer. What
    the file ``known`` has is not tried again, and what it has not is kept there.
    """
    shared = job_or_default(job)
    opened = open_inputs(shared, files, encoder)
    code = opened.code
    asked, sources = [], sources_of(shared, code)
    for target in plan.targets:
        target = target if code is None else target_for(target, code)
        layouts = layouts_for(target, shared, plan.regimes)
        programs = programs_for(target, *(layout.job for layout in layouts), sources=sources)
        setup = Setup(target, programs, shared, opened.for_machine)
        request = SurveyRequest(setup, layouts, _routines(plan, code, target))
        asked.append(Task(request, request, MutantSurvey, SECONDS * len(layouts)))
    batches: list[_Together] = []
    for done in carried_out(workers, asked, ahead=len(asked)):
        assert done.future is not None
        target = done.about.setup.target
        try:
            found = done.future.result().answer
        except RelokitError as error:
            # What is wrong with a file is wrong with every target.
            check_unchanged()
            yield SurveyDone(target, None, str(error))
            continue
        wanted = replace(found, mutants=tuple(one for one in found.mutants if plan.wants(one)))
        yield SurveyDone(target, wanted)
        keys = _Keys(done.about, known)
        taken = {one.id: result for one in wanted.mutants if (result := keys.result_of(one))}
        yield from (
            Tried(target, one, taken[one.id], taken=True)
            for one in wanted.mutants
            if one.id in taken
        )
        rest = tuple(one for one in wanted.mutants if one.id not in taken)
        size = max(1, min(TOGETHER, len(rest) // (workers.count * EACH)))
        batches += _batches(done.about, replace(wanted, mutants=rest), keys, size)
    yield from _try_all(workers, batches)


def _routines(
    plan: MutationPlan, code: ForeignCode | None, target: Target
) -> tuple[RoutineName, ...]:
    """What of ``target`` is mutated; raises TargetError for what ``code`` has not."""
    if code is None:
        return plan.routines or tuple(RoutineName)
    there = [RoutineName(one) for one in KexecRoutine if one in _MUTATED and code.has(one, target)]
    if plan.routines is None:
        return tuple(there)
    for routine in plan.routines:
        if routine not in there:
            names = ", ".join(there)
            raise TargetError(
                f"has no {routine} for state {target.series}: it would be ours that is mutated",
                where=code.where,
                hint=f"leave --routine out, or choose of {names}" if names else "give another file",
            )
    return plan.routines


def _batches(
    asked: SurveyRequest, found: MutantSurvey, keys: _Keys, size: int
) -> Iterator[_Together]:
    good = {one.name for one in found.layouts if one.why_not is None}
    layouts = tuple(limited(one, found.layouts) for one in asked.layouts if one.name in good)
    for at in range(0, len(found.mutants), size):
        yield _Together(asked.setup, layouts, found.mutants[at : at + size], keys)


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
        batch.keys.keep(results, batch.mutants)
        for mutant, result in zip(batch.mutants, results, strict=True):
            yield Tried(batch.setup.target, mutant, result)
    if lost:
        yield from _try_all(workers, lost)
