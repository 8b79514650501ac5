"""A native library in a child process: it may crash or hang, the program may not.

The child is a fresh interpreter (spawned, never forked) that serves one module::

    def serve(request: bytes, progress: Callable[[bytes], None]) -> bytes: ...
    # or, of a request that comes with opened files, with their descriptors, which are then its own:
    def serve(request, progress, descriptors: tuple[int, ...]) -> bytes: ...
    def prepare() -> None: ...          # optional: slow imports, run once before the first request

How requests and answers travel, and what runs in the child, is in serving.py. A RelokitError raised
by ``serve`` is raised again as the same class.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NoReturn

from relokit.codegen.base.budget import limits
from relokit.codegen.base.errors import FormatError, NativeCrashError, RelokitError
from relokit.codegen.base.serving import (
    ERROR,
    ERROR_CLASSES,
    FAILURE,
    HEADER,
    PROGRESS,
    REQUEST,
    RESULT,
    SentError,
)
from relokit.codegen.base.told_to_end import has_ended, kill_at_last

Progress = Callable[[bytes], None]

_CHUNK = 1 << 16
_STDERR_KEPT = 4096
_ERROR_LIMIT = 1 << 16
_CLOSE_GRACE = _WATCH = 1.0
"""Seconds."""
_NUMPY = {"OPENBLAS_NUM_THREADS": "1", "NUMPY_MADVISE_HUGEPAGE": "0"}
"""Nothing here is linear algebra: to start threads for it takes 35 ms. Large arrays of ours are
tables of which little is touched: in pages of 2 MiB each touch clears that much.
"""
_BOOT = (
    "import sys; sys.path[:] = {path!r}\n"
    "from relokit.codegen.base import serving; serving.main({module!r})"
)


class Child:
    """A child process that serves ``module``; started at the first call, or by :meth:`start`.

    ``library`` is the name messages use. Calls are serialised by a lock. After a crash, a
    timeout or an interrupt the next call starts a fresh child. Use as a context manager, or
    leave closing to the interpreter's exit; the child also ends by itself when its parent does.
    """

    def __init__(
        self, module: str, *, library: str | None = None, max_response: int = 1 << 28
    ) -> None:
        self.module = module
        self.library = library or module.rpartition(".")[2]
        self.max_response = max_response
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0
        """How often a process was started for it: another one remembers nothing of the last."""
        self._owner = 0
        self._busy = False
        self._stderr = b""
        _children.add(self)

    def start(self) -> None:
        """Spawn the child if it is not running, without waiting for its imports."""
        with self._lock:
            self._running()

    def call(
        self,
        request: bytes,
        *,
        timeout: float,
        progress: Progress | None = None,
        descriptors: Sequence[int] = (),
        watch: Callable[[], None] | None = None,
    ) -> bytes:
        """Send ``request``, return the answer; ``timeout`` (seconds) bounds the whole exchange.

        The child gets ``descriptors`` of its own for the same opened files, at most 16.
        ``progress`` receives each intermediate message, in this thread. Raises
        NativeCrashError when the child dies, hangs or answers nonsense, whatever RelokitError the
        handler raised, BlockingIOError where the host has no further process or thread, and what
        ``watch`` does, which is called every second. On any other way out (KeyboardInterrupt)
        the child is killed first, so no answer can be taken for a later request's.
        """
        with self._lock:
            if self._busy:
                raise RuntimeError("Child.call from its own progress callback")
            self._busy = True
            try:
                kind, answer = self._exchange(
                    self._running(), request, descriptors, timeout, progress, watch
                )
            except BaseException:
                self._kill()
                raise
            finally:
                self._busy = False
        if kind == RESULT:
            return answer
        raise self._handler_error(kind, answer)

    def close(self) -> None:
        """End the child: ask by closing its input, then kill. Safe to call twice."""
        with self._lock:
            process = self._process
            if process is None or self._owner != os.getpid():
                self._process = None
                return
            self._requests.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CLOSE_GRACE)
            self._kill()

    def abort(self) -> None:
        """Kill the child, from any thread: a call in progress raises NativeCrashError."""
        process = self._process  # without the lock, which that call holds
        if process is not None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        """The live child, spawned if there is none (or if this process is a fork of its owner)."""
        process = self._process
        if process is not None and self._owner == os.getpid():
            if process.poll() is None:
                return process
            self._kill()
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = process = self._spawned(theirs.fileno())
        kill_at_last(process.pid)
        self.started += 1
        self._owner = os.getpid()
        self._stderr = b""
        self._requests.setblocking(False)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        return process

    def _spawned(self, requests: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                # -P: never import from the directory the user happens to be in.
                [sys.executable, "-P", "-c", self._program()],
                stdin=requests,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=os.environ | _NUMPY,
                # Its own process group: the terminal's Ctrl-C reaches the parent only.
                process_group=0,
            )
        except OSError:
            self._requests.close()
            raise

    def _program(self) -> str:
        return _BOOT.format(path=sys.path, module=self.module)

    def _exchange(
        self,
        process: subprocess.Popen[bytes],
        request: bytes,
        descriptors: Sequence[int],
        timeout: float,
        progress: Progress | None,
        watch: Callable[[], None] | None,
    ) -> tuple[bytes, bytes]:
        """Write and read until a final message; both ways at once, so no pipe can fill up."""
        assert process.stdout is not None
        assert process.stderr is not None
        stdin, stdout, stderr = (
            p.fileno() for p in (self._requests, process.stdout, process.stderr)
        )
        deadline = time.monotonic() + timeout
        unsent = memoryview(request)
        header = REQUEST.pack(len(request), len(descriptors), *limits().values())
        # The socket is empty, the last request having been answered: this never blocks.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if descriptors:
                socket.send_fds(self._requests, [header], descriptors)
            else:
                self._requests.send(header)
        received = bytearray()
        poll = select.poll()
        poll.register(stdin, select.POLLOUT)
        poll.register(stdout, select.POLLIN)
        poll.register(stderr, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NativeCrashError(
                    f"{self.library} did not answer within {timeout:g} s and was stopped"
                )
            if watch is not None:
                watch()
                left = min(left, _WATCH)
            for fd, _ in poll.poll(left * 1000):
                if fd == stdin:
                    try:
                        unsent = unsent[os.write(stdin, unsent[:_CHUNK]) :]
                    except BlockingIOError:
                        continue
                    except (BrokenPipeError, ConnectionResetError):
                        unsent = unsent[:0]
                    if not unsent:
                        poll.unregister(stdin)
                elif fd == stderr:
                    if not self._drain_stderr(stderr):
                        poll.unregister(stderr)
                else:
                    try:
                        chunk = os.read(stdout, _CHUNK)
                    except BlockingIOError:
                        continue
                    if not chunk:
                        self._died(process)
                    received += chunk
                    before = time.monotonic()
                    final = self._messages(received, progress)
                    if final is not None:
                        return final
                    # Whoever is told of progress may be slow: that is no time of the child's.
                    deadline += time.monotonic() - before

    def _messages(
        self, received: bytearray, progress: Progress | None
    ) -> tuple[bytes, bytes] | None:
        """Take complete messages off ``received``; the final one is returned."""
        while len(received) >= HEADER.size:
            kind, size = HEADER.unpack_from(received)
            limit = _ERROR_LIMIT if kind in (ERROR, FAILURE) else self.max_response
            if kind not in (RESULT, PROGRESS, ERROR, FAILURE) or size > limit:
                raise NativeCrashError(
                    f"{self.library} sent a malformed or oversized answer and was stopped"
                )
            end = HEADER.size + size
            if len(received) < end:
                return None
            body = bytes(memoryview(received)[HEADER.size : end])
            del received[:end]
            if kind != PROGRESS:
                return kind, body
            if progress is not None:
                progress(body)
        return None

    def _drain_stderr(self, fd: int) -> bool:
        """Keep the tail of what the child printed; False at end of file."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return True
        self._stderr = (self._stderr + chunk)[-_STDERR_KEPT:]
        return bool(chunk)

    def _died(self, process: subprocess.Popen[bytes]) -> NoReturn:
        """Say how the child ended, with the last thing it printed."""
        try:
            code: int | None = process.wait(_CLOSE_GRACE)
        except subprocess.TimeoutExpired:
            code = None
        assert process.stderr is not None
        for _ in range(16):  # a pipe holds 64 KiB; never trust the child to stop writing
            ready, _, _ = select.select([process.stderr], [], [], 0)
            if not ready or not self._drain_stderr(process.stderr.fileno()):
                break
        printed = self._stderr.decode("utf-8", "replace").strip()
        if _short_of_threads(printed):
            raise _again()
        if code is None:
            how = "closed its output"
        elif code < 0:
            try:
                how = f"was killed by {signal.Signals(-code).name}"
            except ValueError:
                how = f"was killed by signal {-code}"
        else:
            how = f"ended its process with exit code {code}"
        raise NativeCrashError(
            f"{self.library} {how}",
            # Of a traceback the last line is the cause.
            text=printed.rpartition("\n")[2] or None,
            hint=_shortage(),
        )

    def _handler_error(self, kind: bytes, answer: bytes) -> Exception:
        from relokit.codegen.base.documents import from_json

        try:
            sent = from_json(SentError, answer)
        except FormatError:
            return NativeCrashError(f"{self.library} reported an error that cannot be read")
        if kind == FAILURE and sent.name == BlockingIOError.__name__:
            # It got no thread, as another gets no process.
            return _again()
        if kind == FAILURE:
            # What an import says of itself may be a page; the cause comes last.
            cause = (sent.message.strip().splitlines() or [""])[-1]
            return NativeCrashError(
                f"{self.library} failed: {sent.name}: {cause}",
                text=sent.text,
                hint=_shortage(),
            )
        cls = ERROR_CLASSES.get(sent.name, RelokitError)
        return cls(sent.message, where=sent.where, text=sent.text, hint=sent.hint)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        has_ended(process.pid)
        process.wait()
        for pipe in (self._requests, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


_children: weakref.WeakSet[Child] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for child in list(_children):
        child.close()


def _shortage() -> str | None:
    """See there; imported where something has failed only."""
    from relokit.codegen.base.process_limits import shortage

    return shortage()


def _short_of_threads(printed: str) -> bool:
    from relokit.codegen.base.process_limits import NO_THREAD_OF_ENGINE

    return NO_THREAD_OF_ENGINE in printed


def _again() -> BlockingIOError:
    """The host has no process or thread left."""
    return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
