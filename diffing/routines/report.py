"""A Diff in one line and as a unified diff."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

from relokit.codegen.base.errors import one_line
from relokit.diffing.routines.classify import NOUNS, ChangeKind
from relokit.diffing.routines.model import (
    Action,
    Change,
    Diff,
    DiffRow,
    DiffVerdict,
    RoutineDiff,
    ignored_text,
)

CONTEXT = 3
"""Unchanged instructions shown around a hunk."""
EXAMPLES = 2
MOST_NAMED = 8
REPEATED = 3
"""So many equal rows one after another are shown once, with their number."""
_ARROW = " → "


def summary(diff: Diff) -> str:
    """What differs, by kind, in one line, and what data was not compared; empty where nothing is
    to be said, not even a register's name.
    """
    return "; ".join(summary_parts(diff))


def summary_parts(diff: Diff) -> list[str]:
    """The summary in parts: what differs by kind and action, routines, registers."""
    groups: dict[tuple[ChangeKind, Action], list[Change]] = defaultdict(list)
    for routine in diff.routines:
        if not routine.one_sided:
            for change in diff.changes_in(routine):
                groups[change.kind, change.action].append(change)
    parts = []
    for (kind, action), changes in sorted(groups.items(), key=_weight):
        noun = NOUNS[kind][len(changes) != 1]
        shown = _some(list(dict.fromkeys(map(_example, changes))), EXAMPLES)
        parts.append(f"{len(changes)} {noun} {action.verb}: {shown}")
    parts += _at_boot(diff)
    for verb, routines in (
        ("inserted", [one for one in diff.routines if one.left is None]),
        ("deleted", [one for one in diff.routines if one.right is None]),
    ):
        counts = {one.name: len(diff.changes_in(one)) for one in routines}
        found = [f"{name} ({count})" for name, count in counts.items() if count]
        if found:
            noun = "routine" if len(found) == 1 else "routines"
            parts.append(f"{len(found)} {noun} {verb} (instructions): {_some(found, MOST_NAMED)}")
    if len(diff.routines) > 1:
        moved = [one.name for one in diff.routines if one.renamed]
        parts += [f"routine renamed: {name}" for name in moved]
    renames = diff.renames() if len(diff.kinds) == len(ChangeKind) else {}
    for name, texts in renames.items():
        where = f" in {name}" if len(diff.routines) > 1 else ""
        parts.append(f"registers renamed{where} {', '.join(texts)}")
    if diff.accepted:
        parts.append(diff.accepted)
    ignored = ignored_text(diff.differences_ignored)
    if ignored:
        apart = diff.verdict is DiffVerdict.APART
        parts += [str(diff.verdict), ignored] if apart else [ignored]
    if diff.data_not_compared and ChangeKind.DATA in diff.kinds:
        parts.append(f"data not compared: {_some(diff.data_not_compared, MOST_NAMED)}")
    return parts


def _at_boot(diff: Diff) -> Iterator[str]:
    """How many of the differences are in words that boot replaces, or keeps for that."""
    count = sum(any(one and one.note for one in (c.left, c.right)) for c in diff.changes())
    if count:
        yield f"{count} of these in boot-time alternatives"


def _some(texts: Sequence[str], most: int) -> str:
    return ", ".join(texts[:most]) + (", ..." if len(texts) > most else "")


def _weight(group: tuple[tuple[ChangeKind, Action], list[Change]]) -> tuple[int, int]:
    kind, action = group[0]
    return list(ChangeKind).index(kind), list(Action).index(action)


def _example(change: Change) -> str:
    left, right = change.left, change.right
    if left is None or right is None or change.action is Action.MOVED:
        one = left or right
        assert one is not None
        return one.text
    if change.kind in (ChangeKind.CACHE, ChangeKind.TLB):
        # dc civac, x13: the operation is what matters, if it is that which changed.
        short = [one.text.partition(",")[0] for one in (left, right)]
        if short[0] != short[1]:
            return _ARROW.join(short)
    note = f" ({change.note})" if change.note else ""
    return left.text + _ARROW + right.text + note


def unified(diff: Diff) -> str:
    """Hunks as ``diff -u`` shows them, offsets in bytes; empty where nothing differs."""
    lines = []
    for routine in diff.routines:
        for first, last in spans(diff, routine):
            lines.append(_heading(routine, routine.rows[first:last]))
            for row, count in folded(asked_for(diff, routine.rows[first:last])):
                lines += _lines(row)
                if count > 1:
                    sign = " " if row.change is None else "+" if row.left is None else "-"
                    lines.append(f"{sign}... {count - 1} more of these")
    if lines:
        lines = [f"--- {diff.left.name}", f"+++ {diff.right.name}", *lines]
    return "\n".join(map(one_line, lines))


def asked_for(diff: Diff, rows: Sequence[DiffRow]) -> tuple[DiffRow, ...]:
    """``rows`` without the changes of kinds that were not asked for."""
    return tuple(
        row
        if row.change is None or row.change.counts(diff.kinds)
        else DiffRow(row.left, row.right, None)
        for row in rows
    )


def folded(rows: Sequence[DiffRow]) -> Iterator[tuple[DiffRow, int]]:
    """``rows`` with their number, 1 but where many in a row are the same: then only the first."""

    def look(row: DiffRow) -> tuple[object, ...]:
        texts = [one and one.text for one in (row.left, row.right)]
        return *texts, row.change and row.change.action

    for _, group in groupby(rows, key=look):
        same = list(group)
        if len(same) > REPEATED:
            yield same[0], len(same)
        else:
            yield from ((row, 1) for row in same)


def spans(diff: Diff, routine: RoutineDiff, context: int = CONTEXT) -> Iterator[tuple[int, int]]:
    """Ranges of rows to show: the hunks and what is around them, joined where they meet."""
    start = end = None
    for hunk in routine.hunks(diff.kinds):
        first, last = max(0, hunk.first - context), min(len(routine.rows), hunk.last + context)
        if end is not None and start is not None and first > end:
            yield start, end
            start = first
        start = first if start is None else start
        end = last
    if start is not None and end is not None:
        yield start, end


def _heading(routine: RoutineDiff, rows: tuple[DiffRow, ...]) -> str:
    sides = [
        [one.offset for one in column if one is not None]
        for column in ([row.left for row in rows], [row.right for row in rows])
    ]
    left, right = (f"{side[0]:#x},{len(side)}" if side else "0x0,0" for side in sides)
    return f"@@ -{left} +{right} @@ {routine.name}"


def _lines(row: DiffRow) -> Iterator[str]:
    if row.change is None:
        one = row.right or row.left
        assert one is not None
        alone = (
            ""
            if row.left and row.right
            else "only on the left"
            if row.left
            else "only on the right"
        )
        yield f" {one.text}{_remark(alone, one.note)}"
        return
    words = "moved" if row.change.action is Action.MOVED else row.change.note
    if row.left is not None:
        yield f"-{row.left.text}{_remark(words, row.left.note)}"
    if row.right is not None:
        yield f"+{row.right.text}{_remark(words, row.right.note)}"


def _remark(*words: str) -> str:
    said = "; ".join(filter(None, words))
    return f"  // {said}" if said else ""
