"""What a comparison of two kernels says nothing of."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.diffing.kernels.whole import WholeDiff
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.model import ignored_text

MOST_TABLES = 8
"""Sections that are named."""


def not_compared(diff: WholeDiff) -> Iterator[str]:
    """What is said of nothing, or was found and does not count: belongs to every form that the
    verdict is told in.
    """
    if diff.accepted:
        yield diff.accepted
    yield from ignored(diff)
    if diff.skipped:
        yield f"{len(diff.skipped):,} left out: too large for a function, or not whole instructions"
    if diff.data_not_compared and ChangeKind.DATA in diff.kinds:
        yield (
            f"data not compared: {diff.data_not_compared:,} instructions take what may change; "
            f"that of {diff.data:,} others was"
        )
    if diff.tables_not_compared and ChangeKind.DATA in diff.kinds:
        named = diff.tables_not_compared
        more = f", ... ({len(named)})" if len(named) > MOST_TABLES else ""
        yield f"data not compared, for no code takes it: {', '.join(named[:MOST_TABLES])}{more}"


def ignored(diff: WholeDiff) -> Iterator[str]:
    """What was asked to be ignored: how many differences, and functions without another one."""
    counted = ignored_text(diff.differences_ignored)
    if diff.same_apart:
        counted += (
            f"; functions that are the same apart from what is ignored: {len(diff.same_apart):,}"
        )
    if counted:
        yield counted
