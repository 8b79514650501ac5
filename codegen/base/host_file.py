"""Files a person names, as read-only memory: only regular ones, bounded, never blocking."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path

from relokit.codegen.base.errors import FormatError

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISCHR, "character device"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISSOCK, "socket"),
)


def map_file(path: str | Path, *, what: str, limit: int) -> memoryview:
    """The whole file, mapped read-only: nothing is read before it is used.

    ``what`` says in messages what should have been given, ``limit`` is the largest size accepted,
    in bytes. Raises FormatError naming the file for whatever is missing, empty, larger or not a
    regular file; a FIFO or device is never opened. The file must not shrink while it is used.
    """
    path = Path(path)
    where = str(path)
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for test, name in _KINDS if test(mode)), "special file")
            kind = f"symbolic link to a {kind}" if path.is_symlink() else kind
            raise FormatError(f"{kind}, not a file", where=where, hint=f"give {what}")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        if path.is_symlink():
            gone = os.readlink(path)
            raise FormatError(
                f"symbolic link to {gone}, which is not there", where=where
            ) from error
        raise FormatError("no such file", where=where, hint="check the path") from error
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot be opened: {_cause(error)}", where=where) from error
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise FormatError("the file is empty", where=where, hint=f"give {what}")
        if size > limit:
            raise FormatError(
                f"{size} bytes, more than the {limit} accepted", where=where, hint=f"give {what}"
            )
        return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ))
    except OSError as error:
        raise FormatError(f"cannot be mapped: {_cause(error)}", where=where) from error
    finally:
        os.close(descriptor)


def _cause(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
