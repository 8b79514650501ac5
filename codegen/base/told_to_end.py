"""When a command is told to end, by a signal: not in the middle of what an exception would break.

Handlers run in the main thread only, and no signal is blocked: threads of libraries block nothing.
"""

from __future__ import annotations

import os
import signal
from _thread import allocate_lock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

# Nothing else is imported before a handler stands, so it is not typing's, nor threading's lock.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from relokit.codegen.base.last_clock import LastClock

GRACE = 20.0
"""Seconds that a command has for leaving in order when its time is over."""
_LEAVING = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPROF, signal.SIGALRM, signal.SIGXCPU,
)  # fmt: skip
"""A person's or another program's; those of the clocks that a command has for itself; and the
host's, for CPU time (``ulimit -t``): it comes each second until the hard limit kills.
"""
_WAITING = 0.01
"""Seconds until it is looked again whether one that waits can be told of."""
_FINALIZERS = {"__del__", "_remove"}
"""Where an exception is printed and forgotten: a finalizer, what a weak reference calls."""
_told: list[int] = []
"""The signal to leave on, or 0. Another one would come while it tidies up, and changes nothing."""


def take_signals() -> None:
    """From now on the first signal to end raises KeyboardInterrupt with its number, once."""
    for number in _LEAVING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


def start_clock(timer: int, seconds: int) -> None:
    """Have ``timer`` (signal.ITIMER_*) send its signal in so many ``seconds`` and not before; one
    that has it already, for a signal that waits, keeps it.
    """
    left, _ = signal.setitimer(timer, seconds)
    if 0 < left <= _WAITING:
        signal.setitimer(timer, left)


class _AtLast:
    """When this process ends whatever it does, and what is not to be left then."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.ends: tuple[float, float] | None = None
        self.texts: Callable[[], tuple[int, tuple[bytes, bytes]]] | None = None
        self.clock: LastClock | None = None
        self.names: dict[bytes, None] = {}
        self.processes: dict[int, None] = {}
        self.busy = 0

    def tell(self) -> None:
        if self.clock is not None:
            self.clock.leave_nothing(self.names, self.processes)
            self.clock.wait(self.busy > 0)


_at_last = _AtLast()


def set_last_clock(
    cpu: float, time: float, texts: Callable[[], tuple[int, tuple[bytes, bytes]]]
) -> None:
    """This process is to end GRACE seconds after so many of CPU time or of the host's, whatever it
    does; what to say then, and to which descriptor, is asked for when it is needed.
    """
    _at_last.ends, _at_last.texts = (cpu + GRACE, monotonic() + time + GRACE), texts
    if _at_last.clock is not None:
        _at_last.clock.set(_at_last.ends)


def start_last_clock() -> None:
    """Something from elsewhere is about to be read: a library may not come back from it.

    Nothing where none is set: in a child, which its parent ends, and from Python.
    """
    if _at_last.clock is None and _at_last.ends is not None and _at_last.texts is not None:
        from relokit.codegen.base.last_clock import LastClock

        with _at_last.lock:
            _at_last.clock = LastClock(_at_last.ends, *_at_last.texts())
            _at_last.tell()


def remove_at_last(*paths: str | os.PathLike[str]) -> None:
    """These, in this order, would be left over: files, and directories."""
    with _at_last.lock:
        _at_last.names = {**{_absolute(one): None for one in paths}, **_at_last.names}
        _at_last.tell()


def keep(*paths: str | os.PathLike[str]) -> None:
    """They are gone, or are to stay."""
    with _at_last.lock:
        for one in paths:
            _at_last.names.pop(_absolute(one), None)
        _at_last.tell()


@contextmanager
def removed_at_last(*paths: str | os.PathLike[str]) -> Iterator[None]:
    """What :func:`remove_at_last` says of ``paths``, as long as it is entered."""
    remove_at_last(*paths)
    try:
        yield
    finally:
        keep(*paths)


@contextmanager
def whole_at_last() -> Iterator[None]:
    """What is done within is done to its end, or undone; the process ends a little later then."""
    with _at_last.lock:
        _at_last.busy += 1
        _at_last.tell()
    try:
        yield
    finally:
        with _at_last.lock:
            _at_last.busy -= 1
            _at_last.tell()


def kill_at_last(process: int) -> None:
    """A child of this process, not waited for yet."""
    with _at_last.lock:
        _at_last.processes[process] = None
        _at_last.tell()


def has_ended(process: int) -> None:
    """A child that is going to be waited for: its number is another's then."""
    with _at_last.lock:
        _at_last.processes.pop(process, None)
        _at_last.tell()


def _absolute(path: str | os.PathLike[str]) -> bytes:
    return os.fsencode(os.path.abspath(path))


def all_is_said() -> None:
    """A signal would change nothing any more, and has nobody to meet it."""
    _told.append(0)


def told() -> tuple[int, ...]:
    """The number of the signal that was told of, if there was one."""
    return tuple(_told[:1])


def ignore_signals() -> None:
    """For a process on its way out: the interpreter puts back what handlers replaced, not this."""
    for number in _LEAVING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What a signal says comes afterwards, the first one's. Elsewhere than in the main thread no
    signal is told of anyway.
    """
    waiting: list[tuple[int, FrameType | None]] = []

    def wait(number: int, frame: FrameType | None) -> None:
        waiting.append((number, frame))

    handlers = {one: signal.getsignal(one) for one in _LEAVING}
    held = [one for one, handler in handlers.items() if callable(handler)]
    try:
        for one in held:
            signal.signal(one, wait)
    except ValueError:
        held = []
    try:
        yield
    finally:
        for one in held:
            signal.signal(one, handlers[one])
        for number, frame in waiting[:1]:
            handler = handlers[signal.Signals(number)]
            assert callable(handler)
            handler(number, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _told:
        return
    if _must_wait(frame):
        signal.signal(signal.SIGALRM, lambda _, later: _interrupt(number, later))
        signal.setitimer(signal.ITIMER_REAL, _WAITING)
        return
    _told.append(number)
    raise KeyboardInterrupt(number)


def _must_wait(frame: FrameType | None) -> bool:
    """Whether an exception would break what is being done: native libraries take it for a defect
    while they are imported, or end the process; finalizers have nobody to tell.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_name in _FINALIZERS or code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
