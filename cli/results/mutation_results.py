"""The cases of a campaign: one for each mutant, which passes if it was killed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet, rest_case
from relokit.mutation.mutate import Tried
from relokit.mutation.mutation_report import Campaign, citation_of
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.mutation.mutant import MutantStatus


def mutation_results(
    command: str, campaign: Campaign, sources: tuple[Path, ...], *, ended_by: str | None
) -> ResultSet:
    """The results of all that was tried so far, in the order of the mutants."""
    targets = campaign.report().targets
    left_out = [
        ResultCase(one.target, one.target, CaseEnd.NO_ANSWER, f"not tried: {one.why_not}")
        for one in targets
        if one.why_not
    ]
    cases = [*left_out, *map(_case, campaign.tried)]
    if ended_by is not None:
        why = f"{ended_by}: {campaign.done} of {campaign.known} mutants"
        cases.append(rest_case(command, why))
    return ResultSet(command, tuple(cases), tuple(_notes(campaign)), sources)


def _notes(campaign: Campaign) -> Iterable[str]:
    for target in campaign.report().targets:
        for layout in target.layouts:
            if layout.why_not:
                yield f"{target.target}: not tried in {layout.name}: {layout.why_not}"


def _case(tried: Tried) -> ResultCase:
    mutant, result = tried.mutant, tried.result
    group = tried.target.name
    if result.status is MutantStatus.KILLED:
        return ResultCase(group, mutant.id, CaseEnd.PASSED)
    if result.status is MutantStatus.NO_ANSWER:
        return ResultCase(group, mutant.id, CaseEnd.NO_ANSWER, result.why)
    cited = citation_of(tried)
    if cited is not None:
        return ResultCase(group, mutant.id, CaseEnd.SKIPPED, f"no mistake: {cited}")
    notes = [f"warned: {', '.join(result.warnings)}"] if result.warnings else []
    notes += [f"not judged: {', '.join(result.not_judged)}"] if result.not_judged else []
    why = f"no rule finds: {mutant.text}"
    finding = Finding(f"mutant.{mutant.operator}", why, place=mutant.place, notes=tuple(notes))
    return ResultCase(group, mutant.id, CaseEnd.FAILED, why, (finding,))
