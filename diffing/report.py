"""A Diff in one line and as a unified diff."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from relokit.diffing.classify import NOUNS, Kind
from relokit.diffing.model import Action, Change, Diff, RoutineDiff, Row

CONTEXT = 3
"""Unchanged instructions shown around a hunk."""
EXAMPLES = 2
_ARROW = " → "

_VERBS = {
    Action.OPERAND: "changed",
    Action.RENAMED: "renamed",
    Action.MOVED: "moved",
    Action.INSERTED: "inserted",
    Action.DELETED: "deleted",
}


def summary(diff: Diff) -> str:
    """What differs, by kind, in one line; empty where nothing does, not even a register's name."""
    groups: dict[tuple[Kind, Action], list[Change]] = defaultdict(list)
    for change in diff.changes():
        groups[change.kind, change.action].append(change)
    parts = []
    for (kind, action), changes in sorted(groups.items(), key=_weight):
        noun = NOUNS[kind][len(changes) != 1]
        examples = list(dict.fromkeys(map(_example, changes)))
        shown = ", ".join(examples[:EXAMPLES]) + (", ..." if len(examples) > EXAMPLES else "")
        parts.append(f"{len(changes)} {noun} {_VERBS[action]}: {shown}")
    for name, texts in diff.renames().items():
        where = f" in {name}" if len(diff.routines) > 1 else ""
        parts.append(f"registers renamed{where} {', '.join(texts)}")
    return "; ".join(parts)


def _weight(group: tuple[tuple[Kind, Action], list[Change]]) -> tuple[int, int]:
    kind, action = group[0]
    return list(Kind).index(kind), list(Action).index(action)


def _example(change: Change) -> str:
    left, right = change.left, change.right
    if left is None or right is None or change.action is Action.MOVED:
        one = left or right
        assert one is not None
        return one.text
    if change.kind in (Kind.CACHE, Kind.TLB):
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
            for row in routine.rows[first:last]:
                lines += _lines(row)
    if lines:
        lines = [f"--- {diff.left.name}", f"+++ {diff.right.name}", *lines]
    return "\n".join(lines)


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


def _heading(routine: RoutineDiff, rows: tuple[Row, ...]) -> str:
    sides = [
        [one.offset for one in column if one is not None]
        for column in ([row.left for row in rows], [row.right for row in rows])
    ]
    left, right = (f"{side[0]:#x},{len(side)}" if side else "0x0,0" for side in sides)
    return f"@@ -{left} +{right} @@ {routine.name}"


def _lines(row: Row) -> Iterator[str]:
    if row.change is None:
        assert row.left is not None
        yield f" {row.left.text}"
        return
    words = "moved" if row.change.action is Action.MOVED else row.change.note
    note = f"  // {words}" if words else ""
    if row.left is not None:
        yield f"-{row.left.text}{note}"
    if row.right is not None:
        yield f"+{row.right.text}{note}"
