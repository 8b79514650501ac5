"""Bounds that hold on a busy machine too: CPU time instead of the wall clock, counted looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time, sleep

POLL = 0.02
"""Seconds between two looks at a condition."""


@contextmanager
def cpu_time_below(seconds: float) -> Iterator[None]:
    """The block, which is to take less CPU time of this process, all its threads together."""
    start = process_time()
    yield
    used = process_time() - start
    assert used < seconds, f"{used:.2f} s of CPU time"


def eventually(condition: Callable[[], object], *, looks: int = 3000) -> bool:
    """Whether ``condition`` holds at one of so many looks: a minute's, or more if time is short."""
    for _ in range(looks):
        if condition():
            return True
        sleep(POLL)
    return False
