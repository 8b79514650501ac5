"""One run of code, mutated or not, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.judge.book import Judgement, judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.opened_inputs import OpenedInputs
from relokit.runtime.mutation.layouts import MoveLayout
from relokit.runtime.mutation.mutant import (
    FindingPlace,
    Mutant,
    MutantResult,
    MutantStatus,
)
from relokit.runtime.mutation.mutated import CodeSet
from relokit.runtime.record.record import Record
from relokit.runtime.record.stop import StopReason
from relokit.runtime.run.execute import execute, execute_resume
from relokit.runtime.run.prepare import open_cpu, prepare_machine, prepare_resume
from relokit.runtime.run.scenes import place_in

NO_ANSWERS = frozenset({StopReason.TIMEOUT, StopReason.ENGINE})
"""Ends that say something of the host or of the engine, and nothing of the code."""


@dataclass(frozen=True, slots=True)
class CodeTrial:
    """A run that is over; ``locate`` leads from a PC to the Image and VA of its code."""

    record: Record
    judgement: Judgement
    locate: Callable[[int], tuple[Image, int] | None]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that fail it."""
        return tuple(one for one in self.judgement.findings if one.severity is Severity.ERROR)

    @property
    def no_answer(self) -> str | None:
        """Why the run says nothing of the code, if so."""
        stop = self.record.legs[-1].stop
        return str(stop.reason) if stop.reason in NO_ANSWERS else None


@contextmanager
def tried(target: Target, code: CodeSet, job: Job) -> Iterator[CodeTrial]:
    """Build the machine, run it, judge it; it is there as long as the context lasts."""
    opened = OpenedInputs(code=code.shipped)
    if job.path is KexecPath.HIBERNATE:
        resume, cpu = prepare_resume(target, code.programs, job, opened)
        try:
            record = execute_resume(resume, cpu, job, _quiet)
            yield CodeTrial(record, judge(record), resume.locate)
        finally:
            resume.close()
        return
    machine = prepare_machine(target, code.programs, job, _quiet, opened)
    try:
        record = execute(machine, open_cpu(machine), job, _quiet)
        yield CodeTrial(record, judge(record), machine.locate)
    finally:
        machine.close()


def _quiet(stage: str, done: int, total: int) -> None:
    pass


def result_of(
    mutant: Mutant, target: Target, code: CodeSet, layouts: tuple[MoveLayout, ...]
) -> MutantResult:
    """Try ``mutant`` in those of ``layouts`` that it is for, until one kills it."""
    mutated = code.with_edits(mutant.routine, mutant.edits)
    survived = MutantResult(mutant.id, MutantStatus.SURVIVED)
    for layout in layouts:
        if layout.name not in mutant.layouts:
            continue
        try:
            with tried(target, mutated, layout.job) as trial:
                if trial.no_answer:
                    return _unanswered(mutant, layout, trial.no_answer)
                if trial.errors:
                    return _killed(mutant, layout, trial)
                survived = _with_doubts(survived, trial)
        except RelokitError as error:
            return _unanswered(mutant, layout, error.message)
    return survived


def _unanswered(mutant: Mutant, layout: MoveLayout, why: str) -> MutantResult:
    return MutantResult(mutant.id, MutantStatus.NO_ANSWER, layout.name, why=why)


def _with_doubts(result: MutantResult, trial: CodeTrial) -> MutantResult:
    warned = [one.rule for one in trial.judgement.findings]
    not_judged = trial.judgement.answers.not_judged
    return replace(
        result,
        warnings=tuple(dict.fromkeys((*result.warnings, *warned))),
        not_judged=tuple(dict.fromkeys((*result.not_judged, *not_judged))),
    )


def _killed(mutant: Mutant, layout: MoveLayout, trial: CodeTrial) -> MutantResult:
    first = trial.errors[0]
    return MutantResult(
        mutant.id,
        MutantStatus.KILLED,
        layout.name,
        first.rule,
        _place_of(first, mutant, trial),
        first.message,
        first.place,
        tuple(dict.fromkeys(one.rule for one in trial.errors)),
    )


def _place_of(finding: Finding, mutant: Mutant, trial: CodeTrial) -> FindingPlace:
    """Where ``finding`` is, seen from the instructions that differ."""
    changed = {edit.va for edit in mutant.edits}
    located = None if finding.address is None else trial.locate(finding.address)
    if located and located[1] in changed:
        return FindingPlace.AT
    text = "\n".join((finding.message, *finding.notes))
    if any(_names(text, place_in(located[0], va)) for va in changed) if located else False:
        return FindingPlace.NAMED
    if located and finding.address is not None:
        shown = {f"{finding.address - located[1] + va:#x}:" for va in changed}
        if any(one in line for one in shown for line in finding.listing):
            return FindingPlace.SHOWN
    return FindingPlace.ELSEWHERE


def _names(text: str, place: str) -> bool:
    return re.search(re.escape(place) + r"(?![0-9a-f])", text) is not None
