"""One thread that looks after whatever runs: starting one for each run costs more than the run.

It polls: waking it up, and waiting for it, would fight for the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from time import monotonic, sleep

INTERVAL = 0.1
"""Seconds between two looks."""
IDLE_LOOKS = 50
"""Looks with nothing to look after before the thread ends."""

_lock = Lock()
_checks: list[Callable[[], None]] = []
_thread: Thread | None = None


class Deadline:
    """The host's time that a run may take, in seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds
        self.passed = False
        """Whether somebody was stopped for it."""

    @property
    def over(self) -> bool:
        """Whether it is over."""
        return monotonic() >= self._end

    def apart_from(self, call: Callable[[int], None], argument: int) -> None:
        """Make ``call``; how long that takes (whoever is told may be a pager) does not count."""
        begun = monotonic()
        call(argument)
        self._end += monotonic() - begun


@contextmanager
def looked_after(check: Callable[[], None]) -> Iterator[None]:
    """Call ``check`` every INTERVAL from another thread while the block lasts, never after it."""
    global _thread
    with _lock:
        _checks.append(check)
        if _thread is None or not _thread.is_alive():
            _thread = Thread(target=_look, name="watchdog", daemon=True)
            _thread.start()
    try:
        yield
    finally:
        with _lock:
            _checks.remove(check)


@contextmanager
def watched(
    deadline: Deadline,
    stop: Callable[[], object],
    progress: Callable[[int], None] | None,
    done: Callable[[], int],
) -> Iterator[None]:
    """Call ``stop`` again and again when ``deadline`` is over; until then tell ``progress`` what is
    ``done``. Both from a thread.

    The engine's own timeout keeps a core busy: it polls every 2 us.
    """

    def check() -> None:
        if deadline.over:
            deadline.passed = True
            stop()
        elif progress:
            deadline.apart_from(progress, done())

    with looked_after(check):
        yield


def _look() -> None:
    global _thread
    idle = 0
    while True:
        sleep(INTERVAL)
        with _lock:
            idle = 0 if _checks else idle + 1
            if idle == IDLE_LOOKS:
                _thread = None
                return
            for check in _checks:
                check()
