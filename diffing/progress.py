"""How far a comparison is, told to whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Takes the name of a stage, what is done of it and how much that is in all."""

READING = "Reading both sides"
COMPARING = "Comparing routines"


def untold(stage: str, done: int, total: int) -> None:
    """Nobody wants to know."""
