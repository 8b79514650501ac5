"""SIGBUS of a mapped file that is cut short: a page of zeros and a count, in C (bus_errors.c)."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.native import address, function, library

SA_SIGINFO = 4  # Linux, asm-generic/signal-defs.h


class SignalAction(ctypes.Structure):
    """``struct sigaction`` of glibc and musl, where a pointer has 64 bits."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint8 * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


def catch_bus_errors() -> None:
    """From now on, in this process."""
    words = ctypes.c_uint64
    host = ctypes.CDLL(None, use_errno=True)
    calls = (ctypes.cast(call, ctypes.c_void_p).value for call in (host.mmap, host.signal))
    function("prepare_bus_errors", None, words, words, words)(*calls, mmap.PAGESIZE)
    action = SignalAction(handler=address(library(), "replace_page"), flags=SA_SIGINFO)
    if host.sigaction(signal.SIGBUS, ctypes.byref(action), None):
        raise MachineError(f"SIGBUS cannot be caught: {os.strerror(ctypes.get_errno())}")


def take_pages_lost() -> int:
    """How many pages have become zeros since the last time."""
    return int(function("take_pages_lost", ctypes.c_int32)())
