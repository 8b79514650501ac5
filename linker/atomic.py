"""Write a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from relokit.codegen.errors import RelokitError


def write_atomic(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> int:
    """Write ``chunks`` to ``path`` and return the size in bytes.

    The bytes go to a temporary file beside it, to the disk, and only then to the name: whatever
    fails, an old file stays as it was and no new one is left. Raises RelokitError for a place
    that cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise RelokitError("is a directory, not a file to write", where=str(target))
    temporary: str | None = None
    size = 0
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                size += len(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise RelokitError(
            f"cannot be written: {error.strerror or error}",
            where=str(target),
            hint="check that the folder exists, can be written and has room",
        ) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
    _sync_folder(target.parent)
    return size


def _mode(target: Path) -> int:
    """What an ordinary file would have got: the old one's mode, or 0666 without the umask."""
    with suppress(OSError):
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    # So that the new name, too, survives a power cut; some file systems cannot.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
