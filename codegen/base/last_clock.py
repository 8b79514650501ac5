"""The end of a command whose time is over and which does not leave: a call into a library has not
come back, and no Python runs.

Timers of the kernel's send a signal whose handler is C (last_clock.c): it ends the children,
removes what would be left over, says why, and exits.
"""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Iterable, Sequence

from relokit.codegen.base.bus_errors import SA_SIGINFO, SignalAction
from relokit.codegen.base.native import address, check_shared, function, library

SIGNAL = signal.SIGVTALRM
"""Its own timer is nobody's here."""
EXIT_CODE = 3
_SA_RESTART = 0x10000000  # Linux, asm-generic/signal-defs.h
_CLOCKS, _ABSOLUTE = (2, 1), 1
"""CLOCK_PROCESS_CPUTIME_ID, CLOCK_MONOTONIC; TIMER_ABSTIME (Linux, uapi/linux/time.h)."""
_AGAIN = 1
"""Seconds until it is tried again, if it was not the moment."""
_HOST = ("write", "unlink", "rmdir", "kill", "_exit")


class _LastState(ctypes.Structure):
    """``struct last_clock``."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in _HOST),
        *((name, ctypes.c_uint64) for name in ("busy", "names", "processes", "descriptor")),
        ("text", ctypes.c_uint64 * 2),
        ("size", ctypes.c_uint64 * 2),
    )


class _SignalEvent(ctypes.Structure):
    """``struct sigevent``: 64 bytes, SIGEV_SIGNAL being 0 (Linux, asm-generic/siginfo.h)."""

    _fields_ = (
        ("value", ctypes.c_uint64),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_uint8 * 48),
    )


class LastClock:
    """Both timers, and what goes with the process. One for each process, kept to its end.

    ``ends``: seconds of this process's CPU time, and of the host's monotonic clock.
    ``texts``: what to write to ``descriptor`` of the first and of the second.
    """

    def __init__(self, ends: Sequence[float], descriptor: int, texts: Sequence[bytes]) -> None:
        shared = {"struct last_clock": ctypes.sizeof(_LastState), "EXIT_CODE": EXIT_CODE}
        check_shared(library(), "last_clock_shared", shared)
        self._host = ctypes.CDLL(None)
        self._state = _LastState(descriptor=descriptor)
        for name in _HOST:
            setattr(self._state, name, ctypes.cast(self._host[name], ctypes.c_void_p).value)
        self._texts = [ctypes.create_string_buffer(text) for text in texts]
        for at, text in enumerate(self._texts):
            self._state.text[at], self._state.size[at] = ctypes.addressof(text), len(text) - 1
        self.leave_nothing((), ())
        function("prepare_last_clock", None, ctypes.c_uint64)(ctypes.addressof(self._state))
        handler, flags = address(library(), "end_at_last"), SA_SIGINFO | _SA_RESTART
        action = SignalAction(handler=handler, flags=flags)
        self._host.sigaction(SIGNAL, ctypes.byref(action), None)
        self._timers = [self._timer(at) for at in range(2)]
        self.set(ends)

    def set(self, ends: Sequence[float]) -> None:
        """Have both run until then, from now on."""
        for timer, end in zip(self._timers, ends, strict=True):
            times = (ctypes.c_int64 * 4)(_AGAIN, 0, int(end), int(end % 1 * 10**9))
            self._call("timer_settime")(timer, _ABSOLUTE, times, None)

    def leave_nothing(self, names: Iterable[bytes], processes: Iterable[int]) -> None:
        """Remove the files and directories ``names``, in this order, and end ``processes``."""
        numbers = [*processes, 0]
        kept = (
            ctypes.create_string_buffer(b"".join(one + b"\0" for one in names)),
            (ctypes.c_int32 * len(numbers))(*numbers),
        )
        self._state.names, self._state.processes = (ctypes.addressof(one) for one in kept)
        self._kept = kept  # what was named before goes afterwards

    def wait(self, busy: bool) -> None:
        """Whether it is to look again later."""
        self._state.busy = busy

    def _timer(self, which: int) -> ctypes.c_void_p:
        timer, event = ctypes.c_void_p(), _SignalEvent(value=which, signal=SIGNAL)
        self._call("timer_create")(_CLOCKS[which], ctypes.byref(event), ctypes.byref(timer))
        return timer

    def _call(self, name: str) -> ctypes._NamedFuncPointer:
        """Before glibc 2.34 timers were in a library of their own."""
        try:
            return self._host[name]
        except AttributeError:
            return ctypes.CDLL("librt.so.1")[name]
