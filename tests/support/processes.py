"""Processes as /proc has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from support.bounds import eventually


def children(parent: int) -> set[int]:
    """The child processes of ``parent``, those that nobody has waited for included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone(pids: Iterable[int]) -> bool:
    """Whether they all end, given a moment."""
    return eventually(lambda: not any(map(alive, pids)))
