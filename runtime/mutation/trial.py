"""One run of code, mutated or not, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.judge.book import Judgement, judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.kexec.job import KexecPath
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.opened_inputs import OpenedInputs
from relokit.runtime.mutation.data_edits import NoSuchDataError, spoil
from relokit.runtime.mutation.layouts import MoveLayout
from relokit.runtime.mutation.likeness import (
    SCENES,
    Imprint,
    MutantScene,
    imprint_of,
    likeness_of,
)
from relokit.runtime.mutation.mutant import (
    DataEdit,
    Likeness,
    Mutant,
    MutantResult,
    MutantStatus,
)
from relokit.runtime.mutation.mutated import CodeSet
from relokit.runtime.mutation.places import Changed
from relokit.runtime.record.record import Record
from relokit.runtime.run.execute import execute, execute_resume
from relokit.runtime.run.prepare import open_cpu, prepare_machine, prepare_resume


@dataclass(frozen=True, slots=True)
class CodeTrial:
    """A run that is over; ``locate`` leads from a PC to the Image and VA of its code.

    ``memory`` is as the run left it. ``names`` are what was changed in it before, as findings may
    call that.
    """

    record: Record
    judgement: Judgement
    memory: GuestMemory
    locate: Callable[[int], tuple[Image, int] | None]
    names: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that fail it."""
        return tuple(one for one in self.judgement.findings if one.severity is Severity.ERROR)

    @property
    def no_answer(self) -> str | None:
        """Why the run says nothing of the code, if so."""
        stop = self.record.unanswered
        return str(stop.reason) if stop else None


@contextmanager
def tried(
    target: Target, code: CodeSet, layout: MoveLayout, data: DataEdit | None = None
) -> Iterator[CodeTrial]:
    """Build the machine, run it, judge it; it is there as long as the context lasts.

    What ``data`` says is changed before it runs; NoSuchDataError where there is no such thing.
    """
    job = layout.job
    if job.path is KexecPath.HIBERNATE:
        opened = OpenedInputs(dtb=layout.device_tree())
        resume, cpu = prepare_resume(layout.target(target), code.programs, job, opened)
        try:
            record = execute_resume(resume, cpu, job, _quiet)
            judgement = judge(record)
            if _ran_well(record, judgement):
                cpu.retire()
            yield CodeTrial(record, judgement, resume.memory, resume.locate)
        finally:
            resume.close()
        return
    with prepared(target, code, layout) as machine:
        names = () if data is None else spoil(machine, data)
        cpu = open_cpu(machine)
        record = execute(machine, cpu, job, _quiet)
        judgement = judge(record)
        if _ran_well(record, judgement):
            cpu.retire()
        yield CodeTrial(record, judgement, machine.memory, machine.locate, names)


def _ran_well(record: Record, judgement: Judgement) -> bool:
    """Whether its engine can be used again: no guest has ended badly on it."""
    return record.complete and not judgement.failed


@contextmanager
def prepared(target: Target, code: CodeSet, layout: MoveLayout) -> Iterator[Machine]:
    """The machine of a kexec, ready to go, as long as the context lasts."""
    opened = OpenedInputs(code=code.foreign, dtb=layout.device_tree())
    machine = prepare_machine(layout.target(target), code.programs, layout.job, _quiet, opened)
    try:
        yield machine
    finally:
        machine.close()


def _quiet(stage: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Good:
    """What the good code did, and the rules that warn of it all the same."""

    imprint: Imprint
    warnings: frozenset[str]


class Trier:
    """Tries mutants of ``code``, which is good, in ``layouts``."""

    def __init__(self, target: Target, code: CodeSet, layouts: tuple[MoveLayout, ...]) -> None:
        self._target, self._code, self._layouts = target, code, layouts
        self._good: dict[tuple[str, MutantScene], _Good] = {}

    def result_of(self, mutant: Mutant) -> MutantResult:
        """Try ``mutant`` in the layouts that it is for, until one kills it.

        A survivor is compared with the good code, in more scenes if it is alike in the first.
        """
        mutated = self._code.with_edits(mutant.edits)
        survived = MutantResult(mutant.id, MutantStatus.SURVIVED)
        layouts = tuple(one for one in self._layouts if one.name in mutant.layouts)
        found: list[Likeness] = []
        for scene in SCENES:
            for layout in layouts:
                target, move = scene.of(self._target, layout)
                try:
                    with tried(target, mutated, move, mutant.data) as trial:
                        if trial.no_answer:
                            return _unanswered(mutant, layout, trial.no_answer)
                        if trial.errors:
                            return _killed(mutant, layout, trial, self._code.image)
                        imprint = imprint_of(trial.record, trial.memory)
                        judgement = trial.judgement
                    good = self._good_in(layout, scene)
                    survived = _with_doubts(survived, judgement, good)
                    found.append(likeness_of(good.imprint, imprint))
                except NoSuchDataError:
                    continue
                except RelokitError as error:
                    return _unanswered(mutant, layout, error.message)
            if Likeness.NONE in found:
                break
        return replace(survived, likeness=max(found, key=list(Likeness).index))

    def _good_in(self, layout: MoveLayout, scene: MutantScene) -> _Good:
        known = self._good.get((layout.name, scene))
        if known is None:
            target, move = scene.of(self._target, layout)
            with tried(target, self._code, move) as trial:
                warned = frozenset(one.rule for one in trial.judgement.findings)
                known = _Good(imprint_of(trial.record, trial.memory), warned)
                self._good[layout.name, scene] = known
        return known


def _unanswered(mutant: Mutant, layout: MoveLayout, why: str) -> MutantResult:
    return MutantResult(mutant.id, MutantStatus.NO_ANSWER, layout.name, why=why)


def _with_doubts(result: MutantResult, judgement: Judgement, good: _Good) -> MutantResult:
    warned = [one.rule for one in judgement.findings if one.rule not in good.warnings]
    not_judged = judgement.answers.not_judged
    return replace(
        result,
        warnings=tuple(dict.fromkeys((*result.warnings, *warned))),
        not_judged=tuple(dict.fromkeys((*result.not_judged, *not_judged))),
    )


def _killed(mutant: Mutant, layout: MoveLayout, trial: CodeTrial, good: Image) -> MutantResult:
    first = trial.errors[0]
    changed = Changed(mutant, good, trial.record, trial.locate, trial.names)
    place, rank = changed.place_of(first)
    return MutantResult(
        mutant.id,
        MutantStatus.KILLED,
        layout.name,
        first.rule,
        place,
        first.message,
        first.place,
        tuple(dict.fromkeys(one.rule for one in trial.errors)),
        rank=rank,
    )
