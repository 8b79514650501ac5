"""What a process may have of its host: libraries that run into it say everything but that."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from relokit.codegen.base.errors import RelokitError


class _Limited(NamedTuple):
    """What a limit is of: bash's option, a name, its number in ``statm`` (proc_pid_statm(5))."""

    option: str
    name: str
    field: int


_LIMITED = {
    resource.RLIMIT_AS: _Limited("v", "addresses", 0),
    resource.RLIMIT_DATA: _Limited("d", "data", 5),
}
_STATM = Path("/proc/self/statm")
FLOOR, ROOMY, ANY = 1 << 27, 1 << 30, 1 << 62
"""Bytes below which some libraries end the process instead of saying so; with which every one
starts in any case; and more than there are.
"""
_NO_THREAD = "can't start new thread"
"""What the interpreter says, in a RuntimeError."""
NO_THREAD_OF_ENGINE = "qemu_thread_create: "
"""What Unicorn says, and aborts."""


def no_thread(error: Exception) -> BlockingIOError | None:
    """A thread that could not be started, as the host says it of a process; None if ``error`` is
    something else.
    """
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return None


def check_room() -> None:
    """Raise RelokitError in a process that has too little for libraries to start in: some of them
    end it, with an exit code of their own.
    """
    if (short := shortage(FLOOR)) is not None:
        raise RelokitError(f"too little room: {short}")


def shortage(below: int = ROOMY) -> str | None:
    """What to do about a library that did not start; None if it had no limit ``below`` so many
    bytes to run into.
    """
    found = min(((limit, number) for number, limit in _limits()), default=None)
    if found is None or found[0] >= below:
        return None
    limit, number = found
    told = _LIMITED[number]
    return f"ulimit -{told.option} leaves a process {limit >> 20} MiB of {told.name}: raise it"


def check_space(size: int, what: str) -> None:
    """Raise RelokitError if ``what`` needs ``size`` bytes more than there are."""
    for number, limit in _limits():
        if _used(_LIMITED[number].field) + size > limit:
            hint = shortage(ANY)
            raise RelokitError(f"no room for {what}, which takes {size >> 20} MiB", hint=hint)


def _limits() -> Iterator[tuple[int, int]]:
    """Those that are set: which one, and its bytes."""
    for number in _LIMITED:
        limit, _ = resource.getrlimit(number)
        if limit != resource.RLIM_INFINITY:
            yield number, limit


def _used(field: int) -> int:
    """Bytes; 0 where the host does not say."""
    try:
        fields = _STATM.read_text().split()
    except OSError:
        return 0
    return int(fields[field]) * resource.getpagesize()
