"""Whether files that are there may be written over: with ``--force``, or if a person says so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from relokit.codegen.base.errors import RelokitError, one_line


def may_overwrite(force: bool) -> Callable[[Sequence[Path]], bool]:
    """What answers for these files; it asks on a terminal, and raises RelokitError without one."""

    def answer(paths: Sequence[Path]) -> bool:
        if force:
            return True
        first, more = paths[0], len(paths) - 1
        told = f"{first} and {more} more" if more else str(first)
        if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
            return click.confirm(f"{one_line(told)} would be written over. Go on?", err=True)
        raise RelokitError(
            "is there already, and says something else" + (f", as {more} more" if more else ""),
            where=str(first),
            hint="give another directory, or --force to write over it",
        )

    return answer
