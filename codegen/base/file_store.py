"""A directory of small files that may vanish at any time: what is kept there can be made again.

Nothing here is an error. A directory that cannot be used holds nothing and keeps nothing; a file
that is not what was put there is not given out.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from relokit.codegen.base.atomic import write_atomic
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass

_MAGIC = b"relokit stored 1\n"
_DIGEST = 32
_SUFFIX = ".relokit"
_NAME = re.compile(r"[0-9a-z]{1,80}", re.ASCII)
# Ours, and what a run that was killed left of one: nothing else is counted or removed.
_OURS = r"(?a)\.?[0-9a-z]{1,80}\.relokit(?:\.\w+)?"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class FileStore:
    """Up to ``max_files`` files of up to ``max_size`` bytes, ``max_total`` bytes in all.

    Files are named by lower-case letters and digits. Whoever uses them longest ago goes first.
    Several processes may use one directory at the same time. Directory and files are the user's
    own: those that belong to somebody else, or that others may write to, are not read.
    """

    directory: Path
    max_files: int
    max_size: int
    max_total: int

    def get(self, name: str) -> bytes | None:
        """What was put under ``name``, or None."""
        try:
            with self._opened() as folder:
                file = os.open(
                    _file(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder
                )
                with open(file, "rb") as stream:
                    facts = os.fstat(file)
                    if not stat.S_ISREG(facts.st_mode) or not _own(facts):
                        return None
                    content = self._checked(name, stream.read(self.max_size + 1))
                    if content is not None:
                        with suppress(OSError):
                            os.utime(file)
                    return content
        except OSError:
            return None

    def put(self, name: str, content: bytes) -> None:
        """Keep ``content`` under ``name``, if that is possible."""
        head = _head(name, content)
        if len(head) + len(content) > self.max_size:
            return
        with suppress(OSError, RelokitError):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._opened() as folder:
                write_atomic(self.directory / _file(name), (head, content), mode=0o600)
                self._shrink(folder)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The directory's descriptor; OSError where there is none that is safe to use."""
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if not _own(os.fstat(folder)):
                raise PermissionError
            yield folder
        finally:
            os.close(folder)

    def _checked(self, name: str, stored: bytes) -> bytes | None:
        start = len(_MAGIC) + _DIGEST
        if len(stored) > self.max_size or len(stored) < start:
            return None
        content = stored[start:]
        return content if stored[:start] == _head(name, content) else None

    def _shrink(self, folder: int) -> None:
        """Remove what was not used for longest, until the rest is within bounds."""
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if re.fullmatch(_OURS, entry.name):
                    with suppress(FileNotFoundError):
                        facts = entry.stat(follow_symlinks=False)
                        found.append((facts.st_mtime_ns, entry.name, facts.st_size))
        total = sum(size for _, _, size in found)
        surplus = len(found) - self.max_files
        for number, (_, name, size) in enumerate(sorted(found)):
            if number >= surplus and total <= self.max_total:
                break
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            total -= size


def _file(name: str) -> str:
    assert _NAME.fullmatch(name)
    return name + _SUFFIX


def _own(facts: os.stat_result) -> bool:
    return facts.st_uid == os.geteuid() and not facts.st_mode & _OTHERS_WRITE


def _head(name: str, content: bytes) -> bytes:
    """What stands before ``content``: the digest is of the name too, so no file is another's."""
    digest = blake2b(name.encode() + b"\0", digest_size=_DIGEST)
    digest.update(content)
    return _MAGIC + digest.digest()
