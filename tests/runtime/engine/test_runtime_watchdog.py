"""The one thread that looks after runs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from relokit.runtime.engine import watchdog
from relokit.runtime.engine.watchdog import INTERVAL, looked_after

SOON = 10.0


def eventually(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + SOON
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_looks_regularly_while_the_block_lasts_and_never_after() -> None:
    looks: list[float] = []
    with looked_after(lambda: looks.append(time.monotonic())):
        assert eventually(lambda: len(looks) >= 3)
    count = len(looks)
    assert min(b - a for a, b in itertools.pairwise(looks)) > INTERVAL / 2
    time.sleep(3 * INTERVAL)
    assert len(looks) == count


def test_one_thread_for_all() -> None:
    seen: set[str] = set()
    with looked_after(lambda: seen.add("outer")), looked_after(lambda: seen.add("inner")):
        assert eventually(lambda: seen == {"outer", "inner"})
        assert len(watchdogs()) == 1


def test_ends_when_idle_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "IDLE_LOOKS", 2)
    for _ in range(2):
        looks: list[int] = []
        with looked_after(lambda looks=looks: looks.append(1)):  # type: ignore[misc]
            assert eventually(lambda looks=looks: bool(looks))  # type: ignore[misc]
        assert eventually(lambda: not watchdogs())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_check_that_raises_is_not_the_end_of_looking() -> None:
    def bad() -> None:
        raise ValueError

    with looked_after(bad):
        assert eventually(lambda: not watchdogs())
    looks: list[int] = []
    with looked_after(lambda: looks.append(1)):
        assert eventually(lambda: bool(looks))
