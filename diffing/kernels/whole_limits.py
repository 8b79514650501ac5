"""What a comparison of two kernels says nothing of."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.diffing.kernels.whole import WholeDiff
from relokit.diffing.routines.classify import ChangeKind

MOST_TABLES = 8
"""Sections that are named."""


def not_compared(diff: WholeDiff) -> Iterator[str]:
    """What is said of nothing: belongs to every form that the verdict is told in."""
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
