"""The cases of a comparison: one for each routine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from relokit.cli.results.result_cases import RUN_DIFFERS, CaseEnd, ResultCase, ResultSet
from relokit.diffing.routines.classify import NOUNS, WEIGHT
from relokit.diffing.routines.model import (
    Change,
    Diff,
    Hunk,
    RoutineDiff,
    SeriesDiff,
    ignored_text,
)
from relokit.diffing.routines.report import summary_parts
from relokit.runtime.behaviour.observation import BehaviourDiff
from relokit.runtime.judge.outcome import Finding


def diff_results(command: str, found: Diff, behaviour: BehaviourDiff | None) -> ResultSet:
    """The results of two sides, and of what differs in their runs."""
    cases = list(_routines(f"{found.left.name} {found.right.name}", found))
    notes = summary_parts(found)
    if behaviour is not None:
        from relokit.cli.terminal.diff_run_view import behaviour_text

        text = behaviour_text(behaviour)
        end = CaseEnd.PASSED if behaviour.same else CaseEnd.FAILED
        if behaviour.unanswered:
            end = CaseEnd.NO_ANSWER
        why = None if behaviour.same else str(behaviour.verdict)
        told = Finding(RUN_DIFFERS, text) if end is CaseEnd.FAILED else None
        cases.append(ResultCase("run", "run", end, why, (told,) if told else ()))
        notes.append(text)
    return ResultSet(command, tuple(cases), tuple(notes))


def series_results(command: str, found: SeriesDiff) -> ResultSet:
    """The results of each patch against the state before it."""
    cases = tuple(
        case
        for step in found.steps
        for case in _routines(f"patch {step.number} {step.subject}", step.diff)
    )
    ignored = [
        f"patch {step.number}: {text}"
        for step in found.steps
        if (text := ignored_text(step.diff.differences_ignored))
    ]
    return ResultSet(command, cases, tuple(ignored))


def _routines(group: str, found: Diff) -> Iterator[ResultCase]:
    for routine in found.routines:
        hunks = tuple(_hunk(routine, hunk) for hunk in routine.hunks(found.kinds))
        if not hunks:
            yield ResultCase(group, routine.name, CaseEnd.PASSED)
            continue
        counts = Counter(change.kind for change in found.changes_in(routine))
        why = ", ".join(f"{count} {NOUNS[kind][count != 1]}" for kind, count in counts.items())
        yield ResultCase(group, routine.name, CaseEnd.FAILED, f"differs: {why}", hunks)


def _hunk(routine: RoutineDiff, hunk: Hunk) -> Finding:
    first = hunk.changes[0]
    at = first.right or first.left
    kinds = [kind.value for kind in WEIGHT if any(one.kind is kind for one in hunk.changes)]
    return Finding(
        f"diff.{kinds[0]}",
        f"{', '.join(kinds)}: {hunk.action}",
        place=routine.name if at is None else f"{routine.name}+{at.offset:#x}",
        listing=tuple(line for change in hunk.changes for line in _change(change)),
    )


def _change(change: Change) -> Iterator[str]:
    if change.left is not None:
        yield f"-{change.left.text}"
    if change.right is not None:
        yield f"+{change.right.text}"
    if change.note:
        yield f" {change.note}"
