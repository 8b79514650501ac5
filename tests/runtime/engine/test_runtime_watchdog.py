"""The one thread that looks after runs."""

from __future__ import annotations

import threading
from time import sleep

import pytest

from relokit.runtime.engine import watchdog
from relokit.runtime.engine.watchdog import INTERVAL, looked_after
from support.bounds import eventually


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_looks_regularly_while_the_block_lasts_and_never_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(watchdog, "sleep", lambda seconds: (naps.append(seconds), sleep(seconds)))
    looks: list[int] = []
    with looked_after(lambda: looks.append(len(naps))):
        assert eventually(lambda: len(looks) >= 3)
    # One look after each nap, none of them left out.
    assert looks == list(range(looks[0], looks[0] + len(looks)))
    assert set(naps) == {INTERVAL}
    count, slept = len(looks), len(naps)
    assert eventually(lambda: len(naps) > slept + 3)
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
