"""Write a file whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from relokit.codegen.base.errors import RelokitError


def write_atomic(
    path: str | os.PathLike[str],
    chunks: Iterable[bytes | memoryview],
    *,
    parents: bool = False,
    mode: int | None = None,
) -> int:
    """Write ``chunks`` to ``path`` and return the size in bytes.

    Whatever fails, an old file stays as it was and no new one is left. ``parents`` makes the
    folders that lead there, ``mode`` are the file's permissions (by default the old file's, or
    what a new one gets). Raises RelokitError for a place that cannot be written.
    """
    size = 0
    with replacing(path, parents=parents, mode=mode) as temporary, temporary.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            size += len(chunk)
    return size


def write_together(
    files: Mapping[Path, bytes], may_overwrite: Callable[[Sequence[Path]], bool] | None = None
) -> list[Path]:
    """Write all of ``files``, their folders too, or none; returns the paths, empty if it may not.

    ``may_overwrite`` is asked about those that are there and have other bytes. Raises RelokitError
    for a link, which nobody has named, and for a place that cannot be written.
    """
    others = []
    for path, data in files.items():
        if path.is_symlink():
            # What it leads to may be anything.
            raise RelokitError(
                "is a link, and would have what it leads to replaced",
                where=str(path),
                hint="remove it, or give another folder",
            )
        if path.is_file() and not _has(path, data):
            others.append(path)
    if others and may_overwrite is not None and not may_overwrite(others):
        return []
    # All of them are written beside their places before the first one takes its own.
    with ExitStack() as stack:
        for path, data in files.items():
            stack.enter_context(replacing(path, parents=True)).write_bytes(data)
    return list(files)


def _has(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, parents: bool = False, mode: int | None = None
) -> Iterator[Path]:
    """Yield a temporary file beside ``path``; a body that ends well makes it ``path``.

    The bytes reach the disk before the name does. A body that raises leaves nothing behind.
    Raises RelokitError for a place that cannot be written, also where the body's own writing
    fails.
    """
    import tempfile  # here: many who can write a file do not

    # A symbolic link stays one: what it points to is replaced.
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        _check_kind(target, str(path))
        if parents:
            target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        _sync(temporary)
        temporary.chmod(_mode(target) if mode is None else mode)
        temporary.replace(target)
        temporary = None
        # So that the new name, too, survives a power cut; some file systems cannot.
        with suppress(OSError):
            _sync(target.parent)
    except OSError as error:
        raise RelokitError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            hint="check that the folder exists, can be written and has room",
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
