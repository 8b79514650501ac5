"""Files a person names, as read-only memory: only regular ones, bounded, never blocking.

A file is opened once: what is opened travels as a value, to another process by its descriptor.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from relokit.codegen.base.errors import FormatError

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISCHR, "character device"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISSOCK, "socket"),
)

_KEPT = "kept"


class HostFile:
    """``size`` bytes of an opened file, or of memory that has a descriptor like one.

    ``descriptor`` is ours from now on. ``where`` is what messages call it.
    """

    def __init__(self, descriptor: int, size: int, where: str) -> None:
        self.descriptor, self.size, self.where = descriptor, size, where

    def __del__(self) -> None:
        os.close(self.descriptor)

    @cached_property
    def content(self) -> memoryview:
        """All of it, mapped read-only: nothing is read before it is used.

        It stays valid when the file is closed. Raises FormatError if there is no room for it.
        """
        try:
            return memoryview(mmap.mmap(self.descriptor, self.size, access=mmap.ACCESS_READ))
        except OSError as error:
            raise FormatError(f"cannot be mapped: {_cause(error)}", where=self.where) from error


def pack(value: object, kept: object = None) -> tuple[bytes, tuple[HostFile, ...]]:
    """``value`` pickled but for the HostFiles in it, which go beside it.

    Nor does ``kept`` go, if it is in there: whoever unpacks this has it already.
    """
    import pickle
    from io import BytesIO

    files: list[HostFile] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, one: object) -> tuple[int, int, str] | str | None:
            if kept is not None and one is kept:
                return _KEPT
            if not isinstance(one, HostFile):
                return None
            if one not in files:
                files.append(one)
            return files.index(one), one.size, one.where

    packed = BytesIO()
    Pickler(packed, pickle.HIGHEST_PROTOCOL).dump(value)
    return packed.getvalue(), tuple(files)


def unpack(packed: bytes, descriptors: tuple[int, ...], kept: object = None) -> Any:
    """What :func:`pack` was given, with the same files by ``descriptors`` of this process, and
    with ``kept`` where that was left out.

    Only for what this program has packed itself: unpickling runs what it reads.
    """
    import pickle
    from io import BytesIO

    files: dict[int, HostFile] = {}

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, one: tuple[int, int, str] | str) -> object:
            if isinstance(one, str):
                assert kept is not None, "this process was started anew, and keeps nothing"
                return kept
            number, size, where = one
            if number not in files:
                files[number] = HostFile(descriptors[number], size, where)
            return files[number]

    return Unpickler(BytesIO(packed)).load()


def open_file(path: str | Path, *, what: str, limit: int) -> HostFile:
    """Open the file at ``path``; nothing is read before it is used.

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
    file = HostFile(descriptor, os.fstat(descriptor).st_size, where)
    if file.size == 0:
        raise FormatError("the file is empty", where=where, hint=f"give {what}")
    if file.size > limit:
        raise FormatError(
            f"{file.size} bytes, more than the {limit} accepted", where=where, hint=f"give {what}"
        )
    return file


def _cause(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
