"""Two whole kernels on one screen: totals, kinds, and the functions that changed most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relokit.cli.terminal.output import WIDTH, plain_lines
from relokit.diffing.kernels.whole import WholeDiff
from relokit.diffing.kernels.whole_changes import FunctionChange, FunctionCount, FunctionStatus
from relokit.diffing.kernels.whole_limits import not_compared
from relokit.diffing.routines.classify import NOUNS, ChangeKind
from relokit.diffing.routines.model import DiffVerdict

SHOWN = 40
"""Functions of both sides, the most changed ones."""
SHOWN_ALONE = 10
"""Functions of either side alone."""

_NUMBER = 10
_NAME = WIDTH - 2 - 4 * (_NUMBER + 1)


def overview(diff: WholeDiff) -> str:
    """The whole comparison, for a terminal of WIDTH columns; the last line sums it up."""
    lines = [f"--- {diff.left}", f"+++ {diff.right}", *_kinds(diff)]
    changed = diff.differing(FunctionStatus.CHANGED)
    if changed:
        lines += ["", _row("changed", ("bytes", "inserted", "deleted", "operands"))]
        lines += [_row(one.name, _numbers(diff, one)) for one in changed[:SHOWN]]
        lines += _more(len(changed) - SHOWN)
    for status in (FunctionStatus.ONLY_LEFT, FunctionStatus.ONLY_RIGHT):
        alone = diff.differing(status)
        if alone:
            lines += ["", _row(str(status), ("bytes", "instr."))]
            lines += [_row(one.name, _sizes(diff, one)) for one in alone[:SHOWN_ALONE]]
            lines += _more(len(alone) - SHOWN_ALONE)
    if changed:
        lines += ["", "One of them:", f"  {_command(diff, changed[0])}"]
    lines += ["", *summary(diff)]
    return plain_lines(lines)


def summary(diff: WholeDiff) -> Iterator[str]:
    """What was not compared, and how many functions there are, by status; with chosen kinds, how
    many differ in these.
    """
    yield from not_compared(diff)
    if diff.only_operands:
        yield f"{diff.only_operands:,} of the changed ones changed in nothing but operands"
    numbers = diff.functions_by_status()
    yield f"{sum(numbers.values()):,} functions: " + ", ".join(
        f"{number:,} {status}" for status, number in numbers.items()
    )
    if diff.verdict is DiffVerdict.APART:
        yield str(diff.verdict)
    if len(diff.kinds) < len(ChangeKind):
        nouns = ", ".join(NOUNS[kind][1] for kind in ChangeKind if kind in diff.kinds)
        yield f"{diff.changed:,} differ in {nouns}"


def _command(diff: WholeDiff, one: FunctionChange) -> str:
    """How to look at a function that both sides have."""
    if one.left == one.right:
        return f"relokit diff {diff.left} {diff.right}:{one.right}"
    return f"relokit diff {diff.left}:{one.left} {diff.right}:{one.right}"


def _kinds(diff: WholeDiff) -> Iterator[str]:
    found = diff.kind_counts()
    if found:
        yield ""
        yield _row("about", ("inserted", "deleted", "operands", "functions"))
    for kind, (count, functions) in found.items():
        yield _row(NOUNS[kind][1], [f"{number:,}" for number in (*count, functions)])


def _numbers(diff: WholeDiff, one: FunctionChange) -> list[str]:
    grown = one.right_bytes - one.left_bytes
    return [f"{grown:+,}", *_counted(one.count(diff.kinds), aligned=one.aligned)]


def _counted(count: FunctionCount, *, aligned: bool) -> list[str]:
    """Numbers as text; those of a function that was too large to align are only about right."""
    return [f"{'' if aligned else '~'}{number:,}" for number in count]


def _sizes(diff: WholeDiff, one: FunctionChange) -> list[str]:
    count = one.count(diff.kinds)
    return [f"{one.left_bytes + one.right_bytes:,}", f"{count.inserted + count.deleted:,}"]


def _row(name: str, cells: Sequence[str]) -> str:
    shown = name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."
    return f"  {shown:<{_NAME}}" + "".join(f" {cell:>{_NUMBER}}" for cell in cells)


def _more(count: int) -> list[str]:
    return [f"  ... and {count:,} more"] if count > 0 else []
