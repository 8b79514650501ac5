"""A Dask cluster as workers: requests go to other processes, on other machines perhaps.

Needs the extra ``relokit[cluster]``, which is imported when a cluster is asked for. Each of the
cluster's processes has machine rooms of its own, so that a guest never takes one down. What travels
is packed by us and unpacked by us: a cluster is trusted as this process is (whoever can submit to
it runs code there).
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from threading import Event, Lock, Thread
from time import monotonic, perf_counter
from typing import Any, TypeVar

from relokit.codegen.base.documents import from_json, to_json
from relokit.codegen.base.errors import FormatError, NativeCrashError, RelokitError
from relokit.codegen.base.host_file import pack, unpack
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.room.requests import Request
from relokit.session import MAX_ROOMS, Session
from relokit.source_digest import source_digest
from relokit.workers import Answered

A = TypeVar("A")
CONNECT = 10.0
"""Seconds that the scheduler has to answer."""
WITHOUT_WORKERS = 30.0
"""Seconds without a single worker after which nothing is waited for any more."""
_LOOK = 0.5
_RETRIES = 3
"""How often a request is begun again whose worker was lost."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker of the cluster sends back: the answer's document, or the error's parts."""

    answer: bytes | None
    seconds: float
    error: tuple[str, str | None, str | None, str | None] | None = None
    crashed: bool = False


class ClusterWorkers:
    """The workers of the Dask scheduler at ``address`` (``tcp://host:8786``).

    Raises RelokitError without the extra, without a scheduler there, and if it has no workers.
    """

    def __init__(self, address: str) -> None:
        self._client = _client(address)
        self._executor = self._client.get_executor(pure=False, retries=_RETRIES)
        self.count = sum(self._client.nthreads().values())
        if not self.count:
            self.__exit__()
            raise RelokitError("the cluster has no workers", where=address, hint="start some")
        self._address = address
        self._digest = source_digest()
        self._running: dict[Future[Any], Future[Any]] = {}
        self._over = Event()
        self._watch = Thread(target=self._watch_workers, daemon=True)
        self._watch.start()

    def submit(self, request: Request[A], answer: type[A], seconds: float) -> Future[Answered[A]]:
        """See Workers."""
        packed, files = pack(request)
        if files:
            raise RelokitError(
                f"{files[0].where} is opened here, and does not go to a cluster",
                hint="run this without --cluster",
            )
        asked: Future[Answered[A]] = Future()
        asked.set_running_or_notify_cancel()
        sent = self._executor.submit(carry_out, self._digest, packed, answer, seconds)
        self._running[asked] = sent

        def over(done: Future[Reply]) -> None:
            self._running.pop(asked, None)
            with suppress(Exception):  # it was given up meanwhile
                asked.set_result(answered(done, answer))

        sent.add_done_callback(over)
        return asked

    def __enter__(self) -> ClusterWorkers:
        return self

    def __exit__(self, *error: object) -> None:
        """Take back what was not begun, and leave the cluster to itself."""
        if hasattr(self, "_over"):
            self._over.set()
            for sent in list(self._running.values()):
                sent.cancel()
        self._client.close()

    def _watch_workers(self) -> None:
        """A task whose workers are all gone waits for ever: then it is lost."""
        last = monotonic()
        while not self._over.wait(_LOOK):
            with suppress(Exception):
                if self._client.scheduler_info(n_workers=-1)["workers"]:
                    last = monotonic()
            if monotonic() - last > WITHOUT_WORKERS:
                lost = NativeCrashError("the cluster has lost all its workers", where=self._address)
                for asked in list(self._running):
                    with suppress(Exception):
                        asked.set_exception(lost)
                return


def _client(address: str) -> Any:
    """Dask's Client, which is typed in part only."""
    try:
        import distributed
    except ImportError:
        raise RelokitError(
            "--cluster needs Dask, which is not installed", hint="pip install 'relokit[cluster]'"
        ) from None
    try:
        made: Any = distributed
        return made.Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise RelokitError(
            f"no Dask scheduler answers: {error}",
            where=address,
            hint="give its address, such as tcp://localhost:8786",
        ) from None


def answered(done: Future[Any], answer: type[A]) -> Answered[A]:
    """What ``done`` came to, whatever a worker has sent; an error is an answer, too."""
    if done.cancelled():
        return Answered(NativeCrashError("stopped"), 0.0)
    failed = done.exception()
    if failed is not None:
        # Its worker was lost more often than is tried.
        return Answered(NativeCrashError(f"a worker of the cluster was lost: {failed}"), 0.0)
    reply = done.result()
    if not _is_reply(reply):
        return Answered(NativeCrashError("a worker's answer is none: it is no reply"), 0.0)
    if reply.error is not None:
        message, where, text, hint = reply.error
        cls = NativeCrashError if reply.crashed else RelokitError
        return Answered(cls(message, where=where, text=text, hint=hint), reply.seconds)
    try:
        return Answered(from_json(answer, reply.answer or b""), reply.seconds)
    except FormatError as error:
        return Answered(NativeCrashError(f"a worker's answer is none: {error.message}"), 0.0)


def _is_reply(reply: Any) -> bool:
    """Whether it is what :func:`carry_out` gives: who waits for it would wait for ever else."""
    if (
        not isinstance(reply, Reply)
        or not isinstance(reply.seconds, float)
        or not reply.seconds >= 0
    ):
        return False
    error = reply.error
    if error is None:
        return isinstance(reply.answer, bytes)
    if not isinstance(error, tuple) or len(error) != 4 or not isinstance(error[0], str):
        return False
    return all(part is None or isinstance(part, str) for part in error)


# What follows runs in the cluster.


def carry_out(digest: bytes, packed: bytes, answer: type[Any], seconds: float) -> Reply:
    """Carry out a packed request in a machine room of this process."""
    started = perf_counter()
    try:
        if digest != _own_digest():
            raise RelokitError(
                "a worker of the cluster has another relokit than this one",
                hint="install the same on all machines",
            )
        done = _session().ask(unpack(packed, ()), answer, seconds)
    except RelokitError as error:
        parts = (error.message, error.where, error.text, error.hint)
        crashed = isinstance(error, NativeCrashError)
        return Reply(None, perf_counter() - started, parts, crashed)
    return Reply(to_json(done), round(perf_counter() - started, 6))


_one_at_a_time = Lock()
_made: list[Session] = []


def _session() -> Session:
    """This process's; a room is started when all others are busy."""
    with _one_at_a_time:
        if not _made:
            _made.append(Session(MAX_ROOMS))
        return _made[0]


@lru_cache(maxsize=1)
def _own_digest() -> bytes:
    return source_digest()
