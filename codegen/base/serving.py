"""The child's side of child.py: a module is served until the parent is gone.

Requests come over a socket, with descriptors, answers go over a pipe, both as length-prefixed
bytes; nothing is ever unpickled. An error of ours travels back as JSON.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import select
import signal
import socket
import struct
import threading
from types import ModuleType
from typing import NoReturn

from relokit.codegen.base import errors
from relokit.codegen.base.budget import LIMITS, budgeted, set_limits
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.host_file import reading
from relokit.codegen.base.nouns import dataclass

REQUEST = struct.Struct(f"<QI{len(LIMITS)}Q")
"""Bytes of the request, descriptors that come with it, and what it may cost: LIMITS, in order."""
MAX_FILES = 16
HEADER = struct.Struct("<cQ")
RESULT, PROGRESS, ERROR, FAILURE = b"R", b"P", b"E", b"F"
_GARBAGE = 50_000
"""Objects that come to stay before circles of them are looked for: some requests' worth."""
_MESSAGE_LIMIT, _FIELD_LIMIT = 8192, 1024

ERROR_CLASSES: dict[str, type[RelokitError]] = {
    name: cls
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, RelokitError)
}


@dataclass(frozen=True, slots=True)
class SentError:
    """An error on its way to the parent: the name of its class, and what it says."""

    name: str
    message: str
    where: str | None = None
    text: str | None = None
    hint: str | None = None


def main(module: str) -> NoReturn:
    """Serve ``module`` until the parent closes our input; each request has a budget of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _no_core_file()
    try:
        requests, answers = _set_up()
    except (OSError, RuntimeError) as error:
        _refuse(error)
    channel = socket.socket(fileno=requests)
    handler = None
    while True:
        try:
            if handler is None:
                handler = _prepared(module)
            failure = None
        except Exception as error:
            handler, failure = None, error
        try:
            request, descriptors = _request(channel)
            if handler is None:
                assert failure is not None
                raise failure
            given = (descriptors,) if descriptors else ()
            with reading(), budgeted(anew=True):
                body = handler.serve(
                    request, lambda message: _send(answers, PROGRESS, message), *given
                )
        except Exception as error:
            _send_error(answers, error)
        else:
            _send(answers, RESULT, body)


def _set_up() -> tuple[int, int]:
    """Descriptors for requests and answers: the library may print to 1 or read from 0."""
    requests, answers = os.dup(0), os.dup(1)
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, answers


def _refuse(error: Exception) -> NoReturn:
    """Say why nothing can be served here, to whoever asks first."""
    size, *_ = REQUEST.unpack(_read(0, REQUEST.size))
    _read(0, size)
    _send_error(1, error)
    os._exit(0)


def _prepared(module: str) -> ModuleType:
    """``module``, with what it imports: that stays, so no garbage is looked for in it, and for
    what a request leaves behind seldom.
    """
    gc.disable()
    try:
        handler = importlib.import_module(module)
        prepare = getattr(handler, "prepare", None)
        if prepare is not None:
            prepare()
        return handler
    finally:
        gc.freeze()
        gc.set_threshold(_GARBAGE)
        gc.enable()


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
        channel, REQUEST.size, MAX_FILES, socket.MSG_CMSG_CLOEXEC
    )
    header += _read(channel.fileno(), REQUEST.size - len(header))
    size, count, *limits = REQUEST.unpack(header)
    set_limits(dict(zip(LIMITS, limits, strict=True)))
    request = _read(channel.fileno(), size)
    if len(descriptors) != count:
        for one in descriptors:
            os.close(one)
        raise RelokitError(
            f"{os.strerror(errno.EMFILE)}: the process cannot be given {count} files",
            hint="'ulimit -n' says how many there may be",
        )
    return request, tuple(descriptors)


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
    message = memoryview(HEADER.pack(kind, len(body)) + body)
    while message:
        message = message[os.write(fd, message) :]


def _send_error(fd: int, error: Exception) -> None:
    from relokit.codegen.base.documents import to_json
    from relokit.codegen.base.process_limits import no_thread

    error = no_thread(error) or error
    if not isinstance(error, RelokitError):
        sent = SentError(type(error).__name__, str(error)[:_MESSAGE_LIMIT])
        return _send(fd, FAILURE, to_json(sent))
    name = next(
        cls.__name__ for cls in type(error).__mro__ if ERROR_CLASSES.get(cls.__name__) is cls
    )
    where, text, hint = (
        None if field is None else field[:_FIELD_LIMIT]
        for field in (error.where, error.text, error.hint)
    )
    sent = SentError(name, error.message[:_MESSAGE_LIMIT], where, text, hint)
    return _send(fd, ERROR, to_json(sent))
