"""What differs in each function of two whole kernels, as much of it as a page has room for."""

from __future__ import annotations

import shlex

import numpy as np

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.diffing.kernels.whole import WholeDiff
from relokit.diffing.kernels.whole_changes import FunctionChange, FunctionStatus
from relokit.diffing.kernels.whole_listing import MatchedKernels, WholeListing, fair
from relokit.diffing.progress import Progress
from relokit.diffing.read.references import Ints
from relokit.diffing.routines.report import unified
from relokit.diffs import routine_diffs

MAX_FUNCTIONS = 20_000
"""Functions on a page."""
MAX_LINES, MAX_DETAILED = 400_000, 40_000
"""Lines of all differences by words, and of those in detail: some ten megabytes."""
MAX_TEXT = 24 << 20
"""Characters of all of them."""
LEAST_ALONE = 8
"""Functions of one side have at least one line of so many."""
STAGES = "Comparing the most changed in detail", "Listing what differs"
STEP = 512
IN_DETAIL, BY_WORDS = "in detail", "by words"


@dataclass(frozen=True, slots=True)
class FunctionText:
    """What is behind a function's name: lines of a unified diff, made in detail or by words, and
    how many more were left out.
    """

    name: str
    how: str
    lines: tuple[str, ...]
    left_out: int = 0


def behind_functions(
    found: WholeDiff, matched: MatchedKernels, most: int, progress: Progress
) -> list[FunctionText]:
    """What differs in each of the first functions of ``found``, in their order; the ``most``
    changed ones of both sides in detail.
    """
    rows = found.rows()[:MAX_FUNCTIONS].tolist()
    detailed = _detailed(found, most, progress)
    rest = np.array([row for row in rows if row not in detailed], np.int64)
    listing = WholeListing(matched, found.kinds, rest)
    lengths = np.array([listing.length(row) for row in rest.tolist()], np.int64)
    limits = dict(zip(rest.tolist(), _limits(lengths, matched.functions[rest]), strict=True))
    room = MAX_TEXT - sum(len(line) for lines in detailed.values() for line in lines)
    all_of = dict(zip(rest.tolist(), lengths.tolist(), strict=True))
    limit = fair(np.array([len(lines) for lines in detailed.values()], np.int64), MAX_DETAILED)
    told = []
    for number, row in enumerate(rows):
        if not number % STEP:
            progress(STAGES[1], number, len(rows))
        if row in detailed:
            how, lines, length = IN_DETAIL, detailed[row][:limit], len(detailed[row])
        else:
            how, lines, length = BY_WORDS, listing.lines(row, limits[row]), all_of[row]
            size = sum(map(len, lines))
            lines = lines if size <= room else []
            room -= size if lines else 0
        one = found.functions[row]
        left = length - len(lines)
        if left:
            lines = [*lines, f"... {left:,} more lines: {_rest(found, one)}"]
        told.append(FunctionText(one.name, how, tuple(lines), left))
    progress(STAGES[1], len(rows), len(rows))
    return told


def _limits(lengths: Ints, functions: Ints) -> list[int]:
    """How many lines each may have: first those of both sides, then those of one."""
    alone = (functions < 0).any(axis=1)
    least = max(MAX_LINES - int(lengths[~alone].sum()), MAX_LINES // LEAST_ALONE)
    one = fair(lengths[alone], least)
    both = fair(lengths[~alone], MAX_LINES - int(np.minimum(lengths[alone], one).sum()))
    limits: list[int] = np.where(alone, one, both).tolist()
    return limits


def _detailed(found: WholeDiff, most: int, progress: Progress) -> dict[int, list[str]]:
    """By row, what differs in the ``most`` changed functions of both sides."""
    rows = found.rows(FunctionStatus.CHANGED)[:most].tolist()
    told: dict[int, list[str]] = {}
    diffs = routine_diffs(
        found.left,
        found.right,
        (_names(found.functions[row]) for row in rows),
        kinds=found.kinds,
        ignore=found.differences_ignored,
    )
    for row, one in zip(rows, diffs, strict=True):
        progress(STAGES[0], len(told), len(rows))
        if isinstance(one, RelokitError):
            text = f"not compared: {one.message}"
        else:
            text = unified(one) or "nothing but what is normalised: registers, padding"
        told[row] = text.splitlines()
    progress(STAGES[0], len(rows), len(rows))
    return told


def _names(one: FunctionChange) -> tuple[str, str]:
    assert one.left is not None
    assert one.right is not None
    return one.left, one.right


def _rest(diff: WholeDiff, one: FunctionChange) -> str:
    if one.status is FunctionStatus.CHANGED:
        return shown_by(diff, one.name)
    return f"all of the function, which is {one.status}"


def shown_by(diff: WholeDiff, name: str) -> str:
    """The command that shows all that differs in a function of both sides."""
    left, _, right = name.partition(" → ")
    operands = f"{diff.left}:{left}", f"{diff.right}:{right or left}"
    return f"relokit diff {shlex.join(operands)}"
