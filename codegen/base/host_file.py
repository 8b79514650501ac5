"""Files a person names, as read-only memory: only regular ones, bounded, never blocking.

A file is opened once: what is opened travels as a value, to another process by its descriptor.
Files are mapped, not copied: one that is written to while it is read would be half of each. So
:func:`check_unchanged` is asked before anybody is told what was read.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from weakref import WeakSet

from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError, RelokitError

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISCHR, "character device"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISSOCK, "socket"),
)

_KEPT = "kept"
Stamp = tuple[int, int]
"""Bytes of a file, and when it was last written to (ns)."""


class _Opened:
    """A descriptor, closed when nobody has it any more: neither its HostFile nor a mapping.

    ``stamp`` is that of its opening, of what must not change while it is open.
    """

    def __init__(self, descriptor: int, where: str, stamp: Stamp | None) -> None:
        self.descriptor, self.where, self.stamp = descriptor, where, stamp
        if stamp is not None:
            _watched.add(self)

    def __del__(self) -> None:
        if self.changed:
            _changed.append(self.where)
        os.close(self.descriptor)

    @property
    def changed(self) -> bool:
        """Whether it has been written to since it was opened."""
        return self.stamp is not None and _stamp_of(os.fstat(self.descriptor)) != self.stamp


_watched: WeakSet[_Opened] = WeakSet()
_changed: deque[str] = deque(maxlen=1)
"""What is closed and had changed, until that is told."""


class _Mapping(mmap.mmap):
    """A file's content, which may outlive its HostFile."""

    file: _Opened


class HostFile:
    """``size`` bytes of an opened file, or of memory that has a descriptor like one.

    ``descriptor`` is ours from now on. ``where`` is what messages call it. Of what must not change
    while it is used, ``stamp`` is that of its opening.
    """

    def __init__(self, descriptor: int, size: int, where: str, stamp: Stamp | None = None) -> None:
        self._opened = _Opened(descriptor, where, stamp)
        self.size, self.where = size, where

    @property
    def descriptor(self) -> int:
        """Open as long as this is there."""
        return self._opened.descriptor

    @cached_property
    def content(self) -> memoryview:
        """All of it, mapped read-only: nothing is read before it is used.

        It stays valid when this goes. Raises FormatError if there is no room for it,
        or nothing of it.
        """
        return memoryview(self._mapping)

    @cached_property
    def _mapping(self) -> _Mapping:
        _lost_pages()
        if not self.size:
            raise FormatError("the file is empty", where=self.where)
        try:
            mapping = _Mapping(self.descriptor, self.size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise FormatError(f"cannot be mapped: {_cause(error)}", where=self.where) from error
        except ValueError:
            # It is shorter than it was when it was opened.
            raise _changed_meanwhile(self.where) from None
        mapping.file = self._opened
        return mapping

    def let_go(self, offset: int, size: int) -> None:
        """Count ``size`` bytes of the content from ``offset`` on as this process's no more, as far
        as they are whole pages of the host's: read again they are what they were.
        """
        first = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = min(offset + size, self.size) // mmap.PAGESIZE * mmap.PAGESIZE
        if first < end:
            self._mapping.madvise(mmap.MADV_DONTNEED, first, end - first)


def check_unchanged() -> None:
    """Raise FormatError if a file that is open has been written to since, or one that was, or if
    one was cut short while this process read it: what was read of it is of no file.
    """
    lost = _lost_pages()() if _lost_pages.cache_info().currsize else 0
    where = next((one.where for one in tuple(_watched) if one.changed), None)
    if _changed:
        where = _changed.pop()
    if where is not None or lost:
        raise _changed_meanwhile(where)


def _changed_meanwhile(where: str | None) -> FormatError:
    return FormatError(
        "changed while it was read" if where else "a file was cut short while it was read",
        where=where,
        hint="wait until it is written, or give a copy",
    )


def forget_files() -> None:
    """What is open is of something that has ended: whether it changes is of no interest."""
    for one in tuple(_watched):
        one.stamp = None
    _changed.clear()


@contextmanager
def reading() -> Iterator[None]:
    """What is done with opened files: if one of them changes meanwhile, that is the error."""
    try:
        yield
    except RelokitError:
        check_unchanged()
        raise
    check_unchanged()


@cache
def _lost_pages() -> Callable[[], int]:
    """Asked for before anything is mapped: what counts pages behind the end of a file.

    Whoever reads what somebody else has written may not come back from it.
    """
    from relokit.codegen.base.bus_errors import catch_bus_errors, take_pages_lost
    from relokit.codegen.base.told_to_end import start_last_clock

    catch_bus_errors()
    start_last_clock()
    return take_pages_lost


def _stamp_of(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns


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


def open_file(path: str | Path, *, what: str, limit: int, settled: bool = True) -> HostFile:
    """Open the file at ``path``; nothing is read before it is used.

    ``what`` says in messages what should have been given, ``limit`` is the largest size accepted,
    in bytes. Raises FormatError naming the file for whatever is missing, empty, larger or not a
    regular file; a FIFO or device is never opened. ``settled``: nobody is to write to it while it
    is open (:func:`check_unchanged`).
    """
    where = str(path)
    descriptor = _descriptor(Path(path), where, f"give {what}")
    status = os.fstat(descriptor)
    file = HostFile(descriptor, status.st_size, where, _stamp_of(status) if settled else None)
    if file.size == 0:
        raise FormatError("the file is empty", where=where, hint=f"give {what}")
    if file.size > limit:
        raise FormatError(
            f"{file.size} bytes, more than the {limit} accepted", where=where, hint=f"give {what}"
        )
    return file


def read_small(path: str | Path, *, what: str, limit: int, where: str | None = None) -> bytes:
    """All of the file at ``path``, which has at most ``limit`` bytes, or none.

    No more is read than its size says: of a FIFO, a device or what a kernel makes up meanwhile
    there may be no end. ``what`` and FormatError as in :func:`open_file`; ``where`` is what
    messages call it, by default the path.
    """
    where = str(path) if where is None else where
    descriptor = _descriptor(Path(path), where, f"give {what}")
    try:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise FormatError(f"has more than {limit:,} bytes", where=where, hint=f"give {what}")
        spend(size, "files that are read", where)
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(size)
    except OSError as error:
        raise FormatError(f"cannot be read: {_cause(error)}", where=where) from None
    finally:
        os.close(descriptor)


def _descriptor(path: Path, where: str, hint: str) -> int:
    """A regular file's, opened; FormatError for anything else, which is not opened at all."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for test, name in _KINDS if test(mode)), "special file")
            kind = f"symbolic link to a {kind}" if path.is_symlink() else kind
            raise FormatError(f"{kind}, not a file", where=where, hint=hint)
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
    return descriptor


def memory_descriptor(name: str, where: str) -> int:
    """A new descriptor of memory, for a HostFile; ``where`` is what it is made of.

    Raises FormatError on a host that has none to give.
    """
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC)
    except OSError as error:
        raise FormatError(
            f"this host gives no memory to unpack it into (memfd_create): {_cause(error)}",
            where=where,
            hint="give it unpacked, or ask who has this sandbox",
        ) from None


def _cause(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
