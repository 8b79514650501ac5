"""A native library in a child process: it may crash or hang, the program may not.

The child is a fresh interpreter (spawned, never forked) that serves one module::

    def serve(request: bytes, progress: Callable[[bytes], None]) -> bytes: ...
    # or, of a request that comes with opened files, with their descriptors, which are then its own:
    def serve(request, progress, descriptors: tuple[int, ...]) -> bytes: ...
    def prepare() -> None: ...          # optional: slow imports, run once before the first request

Requests come over a socket, with descriptors, answers over a pipe, both as length-prefixed bytes;
nothing is ever unpickled. A
RelokitError raised by ``serve`` travels back, as JSON, and is raised again as the same class.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NoReturn

from relokit.codegen.base import errors
from relokit.codegen.base.errors import FormatError, NativeCrashError, RelokitError
from relokit.codegen.base.nouns import dataclass

Progress = Callable[[bytes], None]

_REQUEST = struct.Struct("<QI")
"""Bytes of the request, and descriptors that come with it."""
MAX_FILES = 16
_HEADER = struct.Struct("<cQ")
_RESULT, _PROGRESS, _ERROR, _FAILURE = b"R", b"P", b"E", b"F"
_CHUNK = 1 << 16
_STDERR_KEPT = 4096
_ERROR_LIMIT = 1 << 16
_MESSAGE_LIMIT, _FIELD_LIMIT = 8192, 1024
_CLOSE_GRACE = 1.0
_BOOT = (
    "import sys; sys.path[:] = {path!r}\n"
    "from relokit.codegen.base import child; child.main({module!r})"
)

_ERROR_CLASSES: dict[str, type[RelokitError]] = {
    name: cls
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, RelokitError)
}


@dataclass(frozen=True, slots=True)
class _SentError:
    """An error on its way to the parent: the name of its class, and what it says."""

    name: str
    message: str
    where: str | None = None
    text: str | None = None
    hint: str | None = None


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
    ) -> bytes:
        """Send ``request``, return the answer; ``timeout`` (seconds) bounds the whole exchange.

        The child gets ``descriptors`` of its own for the same opened files, at most MAX_FILES.
        ``progress`` receives each intermediate message, in this thread. Raises
        NativeCrashError when the child dies, hangs or answers nonsense, and whatever
        RelokitError the handler raised. On any other way out (KeyboardInterrupt) the child is
        killed first, so no answer can be taken for a later request's.
        """
        with self._lock:
            if self._busy:
                raise RuntimeError("Child.call from its own progress callback")
            self._busy = True
            try:
                kind, answer = self._exchange(
                    self._running(), request, descriptors, timeout, progress
                )
            except BaseException:
                self._kill()
                raise
            finally:
                self._busy = False
        if kind == _RESULT:
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
        self._process = process = subprocess.Popen(
            # -P: never import from the directory the user happens to be in.
            [sys.executable, "-P", "-c", _BOOT.format(path=sys.path, module=self.module)],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Nothing here is linear algebra: numpy's BLAS takes 35 ms to start threads for it.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            # Its own process group: the terminal's Ctrl-C reaches the parent only.
            process_group=0,
        )
        theirs.close()
        self._owner = os.getpid()
        self._stderr = b""
        self._requests.setblocking(False)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        return process

    def _exchange(
        self,
        process: subprocess.Popen[bytes],
        request: bytes,
        descriptors: Sequence[int],
        timeout: float,
        progress: Progress | None,
    ) -> tuple[bytes, bytes]:
        """Write and read until a final message; both ways at once, so no pipe can fill up."""
        assert process.stdout is not None
        assert process.stderr is not None
        stdin, stdout, stderr = (
            p.fileno() for p in (self._requests, process.stdout, process.stderr)
        )
        deadline = time.monotonic() + timeout
        unsent = memoryview(request)
        header = _REQUEST.pack(len(request), len(descriptors))
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
                    final = self._messages(received, progress)
                    if final is not None:
                        return final

    def _messages(
        self, received: bytearray, progress: Progress | None
    ) -> tuple[bytes, bytes] | None:
        """Take complete messages off ``received``; the final one is returned."""
        while len(received) >= _HEADER.size:
            kind, size = _HEADER.unpack_from(received)
            limit = _ERROR_LIMIT if kind in (_ERROR, _FAILURE) else self.max_response
            if kind not in (_RESULT, _PROGRESS, _ERROR, _FAILURE) or size > limit:
                raise NativeCrashError(
                    f"{self.library} sent a malformed or oversized answer and was stopped"
                )
            end = _HEADER.size + size
            if len(received) < end:
                return None
            body = bytes(memoryview(received)[_HEADER.size : end])
            del received[:end]
            if kind != _PROGRESS:
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
            f"{self.library} {how}", text=self._stderr.decode("utf-8", "replace").strip() or None
        )

    def _handler_error(self, kind: bytes, answer: bytes) -> RelokitError:
        from relokit.codegen.base.documents import from_json

        try:
            sent = from_json(_SentError, answer)
        except FormatError:
            return NativeCrashError(f"{self.library} reported an error that cannot be read")
        if kind == _FAILURE:
            return NativeCrashError(
                f"{self.library} failed: {sent.name}: {sent.message}", text=sent.text
            )
        cls = _ERROR_CLASSES.get(sent.name, RelokitError)
        return cls(sent.message, where=sent.where, text=sent.text, hint=sent.hint)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
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


# What follows runs in the child.


def main(module: str) -> NoReturn:
    """Serve ``module`` until the parent closes our input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _no_core_file()
    # The library may print to 1 or read from 0: keep the protocol on descriptors of its own.
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    channel = socket.socket(fileno=requests)
    handler = None
    while True:
        try:
            if handler is None:
                handler = importlib.import_module(module)
                prepare = getattr(handler, "prepare", None)
                if prepare is not None:
                    prepare()
            failure = None
        except Exception as error:
            handler, failure = None, error
        request, descriptors = _request(channel)
        try:
            if handler is None:
                assert failure is not None
                raise failure
            given = (descriptors,) if descriptors else ()
            body = handler.serve(
                request, lambda message: _send(answers, _PROGRESS, message), *given
            )
        except Exception as error:
            _send_error(answers, error)
        else:
            _send(answers, _RESULT, body)


def _end_with_parent(requests: int) -> None:
    """Leave as soon as nobody holds the other end, even in the middle of native code."""
    poll = select.poll()
    poll.register(requests, 0)  # reports POLLHUP only
    poll.poll()
    os._exit(0)


def _no_core_file() -> None:
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _request(channel: socket.socket) -> tuple[bytes, tuple[int, ...]]:
    header, descriptors, _, _ = socket.recv_fds(
        channel, _REQUEST.size, MAX_FILES, socket.MSG_CMSG_CLOEXEC
    )
    header += _read(channel.fileno(), _REQUEST.size - len(header))
    size, count = _REQUEST.unpack(header)
    assert len(descriptors) == count, "descriptors were lost on the way"
    return _read(channel.fileno(), size), tuple(descriptors)


def _read(fd: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _send(fd: int, kind: bytes, body: bytes) -> None:
    message = memoryview(_HEADER.pack(kind, len(body)) + body)
    while message:
        message = message[os.write(fd, message) :]


def _send_error(fd: int, error: Exception) -> None:
    from relokit.codegen.base.documents import to_json

    if not isinstance(error, RelokitError):
        sent = _SentError(type(error).__name__, str(error)[:_MESSAGE_LIMIT])
        return _send(fd, _FAILURE, to_json(sent))
    name = next(
        cls.__name__ for cls in type(error).__mro__ if _ERROR_CLASSES.get(cls.__name__) is cls
    )
    where, text, hint = (
        None if field is None else field[:_FIELD_LIMIT]
        for field in (error.where, error.text, error.hint)
    )
    sent = _SentError(name, error.message[:_MESSAGE_LIMIT], where, text, hint)
    return _send(fd, _ERROR, to_json(sent))
