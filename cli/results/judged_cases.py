"""The cases of a run: one for each rule of the book."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.runtime.judge.outcome import Finding, Outcome, accepted_text
from relokit.runtime.judge.rules.severity import Severity


def judged_results(command: str, of: str, outcome: Outcome, sources: tuple[Path, ...]) -> ResultSet:
    """The results of one run of what is called ``of``."""
    cases = tuple(judged_cases(of, outcome))
    return ResultSet(command, cases, judged_notes(outcome), sources)


def judged_notes(outcome: Outcome) -> tuple[str, ...]:
    """What is accepted, and which rules say nothing, a note for each reason."""
    reasons: dict[str, list[str]] = {}
    for rule, why in outcome.rules.not_judged.items():
        reasons.setdefault(why, []).append(rule)
    silent = (f"not judged: {', '.join(rules)}: {why}" for why, rules in reasons.items())
    return *((outcome.accepted,) if outcome.accepted else ()), *silent


def judged_cases(group: str, outcome: Outcome) -> Iterator[ResultCase]:
    """What each rule answered of ``outcome``, in the book's order; before it, that none came."""
    if outcome.unanswered:
        yield ResultCase(group, "run", CaseEnd.NO_ANSWER, outcome.unanswered)
    found: dict[str, list[Finding]] = {}
    for finding in outcome.findings:
        found.setdefault(finding.rule, []).append(finding)
    rules = outcome.rules
    for rule in dict.fromkeys((*rules.applied, *found)):
        yield _judged(group, rule, found.get(rule, ()), outcome)
    for rule, why in rules.not_applicable.items():
        if rule not in found:
            yield ResultCase(group, rule, CaseEnd.SKIPPED, f"not applicable: {why}")
    for rule, why in rules.not_judged.items():
        if rule not in found:
            yield ResultCase(group, rule, CaseEnd.SKIPPED, f"not judged: {why}")


def _judged(group: str, rule: str, found: Sequence[Finding], outcome: Outcome) -> ResultCase:
    failing = [Severity.ERROR, *([Severity.WARNING] if outcome.strict else [])]
    wrong = [finding for finding in found if finding.severity in failing]
    accepted = accepted_text(found)
    if accepted and not wrong:
        end = CaseEnd.SKIPPED if outcome.unanswered else CaseEnd.KNOWN
        return ResultCase(group, rule, end, accepted, tuple(found))
    if not wrong:
        return ResultCase(group, rule, CaseEnd.PASSED, findings=tuple(found))
    # Where there is no answer nothing that was found by then decides anything.
    end = CaseEnd.SKIPPED if outcome.unanswered else CaseEnd.FAILED
    return ResultCase(group, rule, end, wrong[0].message, tuple(found))


def case_judged_again(case: ResultCase, findings: tuple[Finding, ...]) -> ResultCase:
    """``case``, whose findings a project takes as ``findings``: one that failed may not."""
    if case.end is not CaseEnd.FAILED or not findings:
        return case
    wrong = [one for one in findings if one.is_error]
    if wrong:
        return replace(case, findings=findings)
    accepted = accepted_text(findings)
    end = CaseEnd.KNOWN if accepted else CaseEnd.PASSED
    return replace(case, findings=findings, end=end, why=accepted or None)
