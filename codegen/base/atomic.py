"""Write a file, or the files of a directory, whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from errno import EEXIST, EFBIG, EMFILE, ENOTEMPTY
from pathlib import Path
from time import sleep

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.told_to_end import (
    keep,
    remove_at_last,
    uninterrupted,
    whole_at_last,
)

_LOCK_TRIES, _LOCK_PAUSE = 1200, 0.05
"""A minute: writing takes a moment, but a process may be stopped."""
_PLACE = "check that the folder exists, can be written and has room"
_WAYS_OUT = {
    EMFILE: "'ulimit -n' says how many there may be",
    EFBIG: "'ulimit -f' says how large a file may be",
}
"""By what the host says; otherwise it is the place."""
_NAME_BYTES = 100
"""Of a file's name, in that of its temporary neighbour."""


def write_atomic(
    path: str | os.PathLike[str],
    chunks: Iterable[bytes | memoryview],
    *,
    mode: int | None = None,
) -> int:
    """Write ``chunks`` to ``path`` and return the size in bytes.

    Whatever fails, an old file stays as it was and no new one is left. ``mode`` are the file's
    permissions (by default the old file's, or what a new one gets). Raises RelokitError for a place
    that cannot be written.
    """
    size = 0
    with replacing(path, mode=mode) as temporary, temporary.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            size += len(chunk)
    return size


def write_together(
    directory: Path,
    files: Mapping[str, bytes],
    may_overwrite: Callable[[Sequence[Path]], bool] | None = None,
) -> list[Path]:
    """Write all of ``files``, by their names in ``directory``, or none; returns the paths, none of
    them if it may not.

    Whatever fails, the directory is as it was, or not there. Two that write to one directory come
    one after the other, where its file system has locks. ``may_overwrite`` is asked about files
    that are there and have other bytes. Raises RelokitError for a link, which nobody has named, and
    for a place that cannot be written.
    """
    place = Path(os.path.realpath(directory))
    paths = [directory / name for name in files]
    with _told(str(directory)):
        if not place.exists() and _write_new(place, files):
            return paths
        answered: set[Path] = set()
        while True:
            with _locked(place, str(directory)):
                others = list(_others(directory, files))
                if may_overwrite is None or answered.issuperset(others):
                    _write_into(place, files)
                    return paths
            # Nobody else waits for the answer.
            if not may_overwrite(others):
                return []
            answered.update(others)


def _others(directory: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """Which of ``files`` are there and say something else; RelokitError for what is no file."""
    for name, data in files.items():
        path = directory / name
        for one in (path, *path.parents[: len(Path(name).parts) - 1]):
            if one.is_symlink():
                # What it leads to may be anything.
                raise RelokitError(
                    "is a link, and would have what it leads to replaced",
                    where=str(one),
                    hint="remove it, or give another folder",
                )
        _check_kind(path, str(path))
        if path.is_file() and not _has(path, data):
            yield path


def _has(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _write_new(place: Path, files: Mapping[str, bytes]) -> bool:
    """Make ``place``, with ``files`` in it; False if somebody else has made it meanwhile."""
    with ExitStack() as undo:
        for folder in reversed(place.parents):
            _make(folder, undo)
        with _staged(place.parent, place.name, files) as stage:
            stage.chmod(0o777 & ~_umask())
            try:
                stage.rename(place)
            except OSError as error:
                if error.errno not in (EEXIST, ENOTEMPTY):
                    raise
                return False
            undo.pop_all()
        _settle(place.parent)
    return True


def _write_into(place: Path, files: Mapping[str, bytes]) -> None:
    """Put ``files`` into ``place``, or none: what was there comes back."""
    with (
        _staged(place, "relokit", files) as stage,
        uninterrupted(),
        whole_at_last(),
        ExitStack() as undo,
    ):
        for number, name in enumerate(files):
            path = place / name
            _make(path.parent, undo)
            if path.exists():
                (stage / name).chmod(path.stat().st_mode & 0o777)
                kept = stage / _kept(number)
                _keep(path, kept)
                undo.callback(kept.replace, path)
            else:
                undo.callback(path.unlink, missing_ok=True)
            (stage / name).replace(path)
        undo.pop_all()
    _settle(place)


@contextmanager
def _staged(folder: Path, name: str, files: Mapping[str, bytes]) -> Iterator[Path]:
    """A temporary directory in ``folder`` with ``files``, all of them on the disk."""
    from tempfile import mkdtemp

    stage: Path | None = None
    try:
        with uninterrupted():
            stage = Path(mkdtemp(prefix=_hidden(name), dir=folder))
            leftovers = *(stage / file for file in files), *_folders(stage, files)
            remove_at_last(*leftovers)
        for file, data in files.items():
            path = stage / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            _sync(path)
        yield stage
    finally:
        if stage is not None:
            with uninterrupted():
                with suppress(OSError):
                    _remove(stage, files)
                keep(*leftovers)


def _remove(stage: Path, files: Mapping[str, bytes]) -> None:
    """What of ``stage`` is still there, without a descriptor: there may be none left."""
    for number, name in enumerate(files):
        (stage / name).unlink(missing_ok=True)
        (stage / _kept(number)).unlink(missing_ok=True)
    for folder in _folders(stage, files):
        _remove_empty(folder)


def _folders(stage: Path, files: Mapping[str, bytes]) -> list[Path]:
    """``stage`` and what is in it for ``files``, each before the one that it is in."""
    folders = {folder for name in files for folder in (stage / name).parents}
    return sorted(folders - {*stage.parents}, reverse=True)


def _kept(number: int) -> str:
    """Where a file of ``stage`` has the old one."""
    return f".{number}.kept"


def _make(folder: Path, undo: ExitStack) -> None:
    """Make one directory if it is not there, to be removed again if nothing is in it."""
    if not folder.is_dir():
        with uninterrupted():
            folder.mkdir(exist_ok=True)
            undo.callback(_remove_empty, folder)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _keep(path: Path, kept: Path) -> None:
    """Have ``path`` under a second name: a link, or a copy where there are none."""
    from shutil import copy2

    try:
        kept.hardlink_to(path)
    except OSError:
        copy2(path, kept)


@contextmanager
def _locked(place: Path, shown: str) -> Iterator[None]:
    """Alone with the directory ``place``, as far as its file system has locks."""
    import fcntl

    for _ in range(_LOCK_TRIES):
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sleep(_LOCK_PAUSE)
                continue
            except OSError:
                # NFS locks no directories.
                pass
            # Whoever had it may have removed it.
            if os.path.samestat(os.fstat(handle), place.stat()):
                yield
                return
        finally:
            os.close(handle)
    raise RelokitError(
        "is being written to by somebody else", where=shown, hint="wait, or give another folder"
    )


@contextmanager
def replacing(path: str | os.PathLike[str], *, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary file beside ``path``; a body that ends well makes it ``path``.

    The bytes reach the disk before the name does. A body that raises leaves nothing behind.
    Raises RelokitError for a place that cannot be written, also where the body's own writing
    fails.
    """
    import tempfile  # here: many who can write a file do not

    # A symbolic link stays one: what it points to is replaced.
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    with _told(str(path)):
        try:
            _check_kind(target, str(path))
            with uninterrupted():
                handle, name = tempfile.mkstemp(prefix=_hidden(target.name), dir=target.parent)
                temporary = Path(name)
                remove_at_last(name)
                os.close(handle)
            yield temporary
            _sync(temporary)
            temporary.chmod(_mode(target) if mode is None else mode)
            with uninterrupted():
                temporary.replace(target)
                keep(name)
                temporary = None
            _settle(target.parent)
        finally:
            if temporary is not None:
                with uninterrupted():
                    temporary.unlink(missing_ok=True)
                    keep(name)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """What the host says, as an error of ours; BlockingIOError is none of a file: no process was to
    be had for what is written."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise RelokitError(
            f"cannot be written: {error.strerror or error}",
            where=where,
            hint=_WAYS_OUT.get(error.errno or 0, _PLACE),
        ) from None


def _hidden(name: str) -> str:
    """How the temporary neighbour of ``name`` begins: a name has at most 255 bytes."""
    return f".{os.fsdecode(os.fsencode(name)[:_NAME_BYTES])}."


def _check_kind(target: Path, shown: str) -> None:
    """Only a regular file may be replaced: not a folder, and above all not /dev/null."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise RelokitError("is a directory, not a file to write", where=shown)
    if not stat.S_ISREG(mode):
        raise RelokitError("is a device or pipe, not a file that can be replaced", where=shown)


def _mode(target: Path) -> int:
    """What an ordinary file would have got: the old one's mode, or 0666 without the umask."""
    with suppress(OSError):
        return target.stat().st_mode & 0o777
    return 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _settle(folder: Path) -> None:
    """New names survive a power cut, too; some file systems cannot."""
    with suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
