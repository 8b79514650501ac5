"""The cases of a comparison of whole kernels: one for each function."""

from __future__ import annotations

from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.diffing.kernels.whole import WholeDiff
from relokit.diffing.kernels.whole_changes import FunctionChange
from relokit.diffing.kernels.whole_limits import not_compared
from relokit.runtime.judge.outcome import Finding


def whole_results(command: str, found: WholeDiff) -> ResultSet:
    """The results of every function of two kernels."""
    group = f"{found.left} {found.right}"
    differ = [_function(group, found, one) for one in found.differing()]
    same = [ResultCase(group, name, CaseEnd.PASSED) for name in found.unchanged]
    cases = sorted([*differ, *same], key=lambda case: case.name)
    return ResultSet(command, tuple(cases), tuple(not_compared(found)))


def _function(group: str, found: WholeDiff, one: FunctionChange) -> ResultCase:
    count = one.count(found.kinds)
    why = (
        f"{one.status}: {count.inserted} inserted, {count.deleted} deleted, "
        f"{count.operands} with other operands"
    )
    finding = Finding(f"diff.{one.status.name.lower().replace('_', '-')}", why, place=one.name)
    return ResultCase(group, one.name, CaseEnd.FAILED, why, (finding,))
