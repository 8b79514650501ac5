"""A host that fails once: the n-th of the calls by which files are written."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

CALLS = ("open", "write", "fsync", "rename", "replace", "link", "mkdir", "chmod")
"""Of module os. Not those that tidy up: what cannot be removed stays."""


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below ``folder`` by name, and every directory, as None."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def failing_at(number: int, cause: int = errno.ENOSPC) -> Iterator[list[str]]:
    """The call with this number, from 1 on, raises OSError of ``cause``; a write is half done then.

    Yields the names of the calls that were made.
    """
    made: list[str] = []

    def fails(name: str) -> bool:
        made.append(name)
        return len(made) == number

    def failing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def either(*arguments: Any, **more: Any) -> Any:
            if _writes(name, *arguments) and fails(name):
                raise OSError(cause, os.strerror(cause))
            return call(*arguments, **more)

        return either

    def opened(file: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if not set(mode) & set("wax+"):
            return real_open(file, mode, *arguments, **more)
        if fails("open"):
            raise OSError(cause, os.strerror(cause))
        stream = real_open(file, mode, *arguments, **more)
        write = stream.write

        def half(data: Any) -> Any:
            if fails("write"):
                write(data[: len(data) // 2])
                raise OSError(cause, os.strerror(cause))
            return write(data)

        return _Stream(stream, half)

    real_open = io.open
    calls: dict[str, Any] = {name: failing(name, getattr(os, name)) for name in CALLS}
    with patch.multiple(os, **calls), patch("io.open", opened):
        yield made


def _writes(name: str, *arguments: Any) -> bool:
    """Whether a call is of a file that is written, and none of a pipe or one that is read."""
    if name == "open":
        return bool(arguments[1] & (os.O_WRONLY | os.O_RDWR))
    return name != "write" or stat.S_ISREG(os.fstat(arguments[0]).st_mode)


class _Stream:
    """A file whose writes go another way."""

    def __init__(self, stream: Any, write: Callable[[Any], Any]) -> None:
        self._stream, self.write = stream, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
