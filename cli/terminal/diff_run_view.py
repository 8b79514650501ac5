"""What a run of both sides shows, as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from relokit.cli.terminal.output import WIDTH, plain
from relokit.runtime.behaviour.observation import (
    BehaviourDiff,
    BehaviourKind,
    Difference,
    RoutineBehaviour,
    TrialMode,
    Verdict,
)

if TYPE_CHECKING:
    from relokit.cli.pages.page import Behaviour

LABEL = 15
MOST_LINES = 6
"""Lines of results, which are one each, and of anything else, which is wrapped."""

VERDICTS = {
    Verdict.SAME: "behaves the same",
    Verdict.MAINTENANCE: "same results, maintenance differs",
    Verdict.NO_ANSWER: "no answer: the host's time was over, or the engine gave up",
    Verdict.DIFFERENT: "behaves differently",
}
_LABELS = {
    BehaviourKind.RESULT: "results",
    BehaviourKind.MAINTENANCE: "maintenance",
    BehaviourKind.COST: "cost",
    BehaviourKind.LEFTOVER: "left over",
    BehaviourKind.SETUP: "set up",
}
_UNSEEN = "What maintenance does, the engine does not show: it is counted, and has to be judged."


def behaviour_text(diff: BehaviourDiff) -> str:
    """All routines and the verdict; those without any difference take a line each."""
    lines = [*_row("run", plain(diff.left)), *_row("", plain(diff.right))]
    for routine in diff.routines:
        lines += _routine(routine)
    if len(diff.routines) > 1:
        counts = Counter(routine.verdict for routine in diff.routines)
        tally = ", ".join(f"{counts[one]} {one}" for one in Verdict if counts[one])
        lines.append(f"{len(diff.routines)} routines: {tally}")
    if diff.verdict is Verdict.MAINTENANCE:
        lines += textwrap.wrap(_UNSEEN, WIDTH)
    return "\n".join(lines)


def behaviour_tables(diff: BehaviourDiff) -> Behaviour:
    """The same for a page: a line, and a table for each routine with differences."""
    from relokit.cli.pages.page import Behaviour, Facts

    remarks = []
    same = [f"{one.name}{_cut(one)}" for one in diff.routines if not one.differences]
    if same:
        remarks.append(f"without any difference: {', '.join(same)}")
    tables = []
    for routine in diff.routines:
        if not routine.differences:
            continue
        rows = tuple(
            (_LABELS[one.kind], one.what, one.left, one.right, f"{len(one.trials)}")
            for one in routine.differences
        )
        runs = f"{len(routine.left)} run{'s' if len(routine.left) > 1 else ''}"
        heading = f"{routine.name}: {_verdict(routine)}, {runs}{_cut(routine)}"
        columns = ("about", "what", diff.left, diff.right, "in runs")
        tables.append(Facts(heading, columns, rows))
    if diff.verdict is Verdict.MAINTENANCE:
        remarks.append(_UNSEEN)
    return Behaviour(VERDICTS[diff.verdict], tuple(remarks), tuple(tables))


def _routine(routine: RoutineBehaviour) -> Iterator[str]:
    verdict = f"{plain(routine.name)}: {_verdict(routine)}"
    if routine.mode is TrialMode.RELOCATION:
        label, ran = "run", _relocations(routine)
    else:
        label, ran = "trials", _endings(routine)
    if not routine.differences and routine.mode is TrialMode.CALL:
        yield from textwrap.wrap(f"{verdict}; trials {ran}", WIDTH, subsequent_indent="    ")
        return
    yield verdict
    yield from _row(label, ran)
    by_kind = {kind: [one for one in routine.differences if one.kind is kind] for kind in _LABELS}
    if not by_kind[BehaviourKind.RESULT]:
        yield from _row(_LABELS[BehaviourKind.RESULT], "alike")
    for kind, found in by_kind.items():
        if kind is BehaviourKind.RESULT:
            yield from _results(found, len(routine.left))
        elif kind is BehaviourKind.LEFTOVER and found:
            names = ", ".join(plain(one.what) for one in found)
            yield from _row(_LABELS[kind], f"{names}: not meant for anybody")
        elif found:
            yield from _row(_LABELS[kind], "; ".join(_change(one) for one in found))


def _relocations(routine: RoutineBehaviour) -> str:
    """How both ended; by regime, where there are several."""
    texts: dict[str, list[str]] = {}
    for left, right in zip(routine.left, routine.right, strict=True):
        ends = [plain(f"{one.ending.text}, {one.verdict}") for one in (left, right)]
        text = ends[0] if ends[0] == ends[1] else f"{ends[0]} → {ends[1]}"
        texts.setdefault(text, []).append(plain(left.trial))
    if len(routine.left) == 1:
        return next(iter(texts))
    return "; ".join(f"{', '.join(trials)}: {text}" for text, trials in texts.items())


def _endings(routine: RoutineBehaviour) -> str:
    """``10: 5 return, 3 fault, 2 call (not run to their end: 2)``"""
    counts = Counter(str(one.ending.leaving) for one in routine.left)
    kinds = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    return f"{counts.total()}: {kinds}{_cut(routine)}"


def _verdict(routine: RoutineBehaviour) -> str:
    """What was seen is all that is claimed: where no trial came to an end, no more than that."""
    words = VERDICTS[routine.verdict]
    if routine.cut == len(routine.left) and routine.verdict is not Verdict.DIFFERENT:
        return f"{words} as far as it ran"
    return words


def _cut(routine: RoutineBehaviour) -> str:
    return f" (not run to their end: {routine.cut})" if routine.cut else ""


def _results(found: list[Difference], total: int) -> Iterator[str]:
    label = _LABELS[BehaviourKind.RESULT]
    for difference in found[:MOST_LINES]:
        text = _change(difference)
        if total > 1:
            trials = len(difference.trials)
            text += f" ({trials} of {total}: {plain(difference.trials[0])})"
        yield from _row(label, text)
        label = ""
    if len(found) > MOST_LINES:
        yield from _row("", f"and {len(found) - MOST_LINES} more")


def _change(difference: Difference) -> str:
    what, left, right = map(plain, (difference.what, difference.left, difference.right))
    return f"{what} {left} → {right}"


def _row(label: str, text: str) -> list[str]:
    """``text`` wrapped behind its label, no longer than MOST_LINES."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {label:<{LABEL - 2}}",
        subsequent_indent=" " * LABEL,
        max_lines=MOST_LINES,
        placeholder=" ...",
        break_on_hyphens=False,
    )
    return lines or [f"  {label}"]
