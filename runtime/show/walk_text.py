"""A walk as text: what a terminal and a debugger are told of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from relokit.runtime.show.shown.tables_shown import WalkShown

WIDTH = 80


def rights(*, writable: bool, executable: bool) -> str:
    """What the privileged level may do, as ``rwx``."""
    return "r" + ("w" if writable else "-") + ("x" if executable else "-")


def walk_lines(walk: WalkShown, width: int = WIDTH) -> Iterator[str]:
    """A line for the walk, and some for each descriptor; ``width`` columns where that can be."""
    by = f"by {walk.register}" if walk.register else "with the MMU off"
    yield f"{walk.va:#x} {by} ({walk.regime})"
    for step in walk.steps:
        owner = f"  {step.owner}" if step.owner else ""
        yield (
            f"  L{step.level} {step.table:#x}[{step.index}] at {step.entry:#x}: "
            f"{step.descriptor:#x}{owner}"
        )
        yield from textwrap.wrap(
            ", ".join(step.words), width, initial_indent="     ", subsequent_indent="     "
        )
    if walk.pa is None:
        yield f"  {walk.fault}"
    else:
        may = rights(writable=walk.writable, executable=walk.executable)
        yield f"  PA {walk.pa:#x}, {may}" + (f": {walk.owner}" if walk.owner else "")
