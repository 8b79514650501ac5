"""Who carries requests out: machine rooms of this process, or a cluster; one interface for both.

Everything goes through :mod:`concurrent.futures`. A request that takes its room down has failed,
and nothing else has.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from time import perf_counter, sleep
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.room.requests import Request
from relokit.session import Session

A = TypeVar("A")
T = TypeVar("T")
_WAIT = 0.05
"""Seconds between two attempts to end a room that is busy."""


def default_jobs() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Answered(Generic[A]):
    """What a request was answered with, or why not, and how long that took."""

    given: A | RelokitError
    seconds: float

    @property
    def answer(self) -> A:
        """The answer; raises the RelokitError that came in its place."""
        if isinstance(self.given, RelokitError):
            raise self.given
        return self.given


class Workers(Protocol):
    """``count`` of them: at most so many requests are carried out at a time.

    At the end of the context everything ends at once, whatever is being carried out.
    """

    @property
    def count(self) -> int:
        """How many there are."""

    def submit(self, request: Request[A], answer: type[A], seconds: float) -> Future[Answered[A]]:
        """Have ``request`` carried out, which its guests have ``seconds`` for."""

    def __enter__(self) -> Workers: ...

    def __exit__(self, *error: object) -> None: ...


class RoomWorkers:
    """Machine rooms of a Session of its own, a thread for each."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._session = Session(count)
        # As many threads as rooms: nothing waits for one.
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="room")
        self._running: WeakSet[Future[Any]] = WeakSet()

    def submit(self, request: Request[A], answer: type[A], seconds: float) -> Future[Answered[A]]:
        """See Workers."""
        # On the ledger of whoever submits it: a campaign's answers are one sum.
        here = copy_context()
        future = self._threads.submit(here.run, self._carry_out, request, answer, seconds)
        self._running.add(future)
        return future

    def __enter__(self) -> RoomWorkers:
        """Have all of them import what they need while this process does something else."""
        self._session.start(self.count)
        return self

    def __exit__(self, *error: object) -> None:
        """End every room; one that is busy is killed, and again if its thread has just begun.

        An exception may have come between a request and the note that it was made: what is being
        carried out is asked of the session, too. Closing would wait for it.
        """
        self._threads.shutdown(wait=False, cancel_futures=True)
        if error[0] is not None or any(not future.done() for future in self._running):
            self._session.abort()
        while self._session.busy:
            sleep(_WAIT)
            self._session.abort()
        self._session.close()

    def _carry_out(self, request: Request[A], answer: type[A], seconds: float) -> Answered[A]:
        started = perf_counter()
        given: A | RelokitError
        try:
            given = self._session.ask(request, answer, seconds)
        except RelokitError as error:
            given = error
        return Answered(given, round(perf_counter() - started, 6))


@dataclass(frozen=True, slots=True)
class Task(Generic[T, A]):
    """A request with what it is about; without one (``request`` None) there is nothing to do."""

    about: T
    request: Request[A] | None
    answer: type[A]
    seconds: float


@dataclass(frozen=True, slots=True)
class Done(Generic[T, A]):
    """A task that is over; ``future`` is None where there was nothing to do."""

    about: T
    future: Future[Answered[A]] | None


def carried_out(
    workers: Workers, tasks: Iterable[Task[T, A]], *, ahead: int, in_order: bool = True
) -> Iterator[Done[T, A]]:
    """Each of ``tasks`` once it is over, in their order or as they come.

    A worker may be so many ``ahead`` of what was given out.
    """
    pending: deque[Done[T, A]] = deque()
    for task in tasks:
        future = None
        if task.request is not None:
            future = workers.submit(task.request, task.answer, task.seconds)
        pending.append(Done(task.about, future))
        if len(pending) > workers.count * ahead:
            yield _next(pending, in_order)
    while pending:
        yield _next(pending, in_order)


def _next(pending: deque[Done[T, A]], in_order: bool) -> Done[T, A]:
    futures = [done.future for done in pending if done.future is not None]
    first = pending[0].future
    if in_order or len(futures) < len(pending):
        if first is not None:
            wait([first])
        return pending.popleft()
    wait(futures, return_when=FIRST_COMPLETED)
    done = next(one for one in pending if one.future and one.future.done())
    pending.remove(done)
    return done
