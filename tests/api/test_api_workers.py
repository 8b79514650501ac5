"""Workers end at once, whenever they are told to."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from relokit.codegen.base.errors import NativeCrashError
from relokit.codegen.target import Target
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.room.requests import RunRequest
from relokit.session import Session
from relokit.workers import Answered, RoomWorkers


def test_an_interrupt_before_a_request_is_noted_ends_what_is_carried_out() -> None:
    """It may come between the two; closing waited for the guest, which may have no end."""
    with Session() as session:
        setup = session.setup(Target(series=0), Job(size=512 << 20, memory=2 << 30), None)
    futures: list[Future[Answered[Outcome]]] = []

    def interrupted() -> None:
        with RoomWorkers(1) as workers:
            futures.append(workers.submit(RunRequest(setup), Outcome, 60))
            workers._running.clear()
            while not workers._session.busy:
                assert not futures[0].done()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert isinstance(futures[0].result(timeout=60).given, NativeCrashError)


def test_what_was_answered_is_no_reason_to_kill() -> None:
    with Session() as session:
        setup = session.setup(Target(), Job(), None)
    with RoomWorkers(1) as workers:
        future = workers.submit(RunRequest(setup), Outcome, 60)
        assert future.result().answer.passed
        assert not workers._session.busy
    assert not workers._session._aborted
