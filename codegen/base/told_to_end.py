"""When a command is told to end, by a signal: not in the middle of what an exception would break.

Handlers run in the main thread only, and no signal is blocked: threads of libraries block nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_LEAVING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPROF, signal.SIGALRM
"""A person's or another program's; and those of the clocks that a command has for itself."""
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
