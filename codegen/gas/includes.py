"""Files that assembly includes: those below one directory, opened name by name from there.

No link is followed and no device opened, so nothing outside of the directory is read, whatever the
assembly says and whoever writes to the directory meanwhile. What it may cost is bounded before any
of it is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from relokit.codegen.base.budget import FIXED, spend
from relokit.codegen.base.errors import AssemblyError, FormatError
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.base.nouns import dataclass

MAX_BYTES, MAX_TEXT = 1 << 30, 16 << 20
"""Bytes of all files that a unit includes, and of text, however often it is included."""
MAX_FILES = 1000
MAX_NAME = 1024
MAX_PARTS = 64
"""Directories and the file that a name has."""

_NAME = re.compile(r'"(?P<name>[^"\\\n]+)"[ \t]*(?:,(?P<rest>.*))?', re.DOTALL)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Included:
    """A file below the directory: what messages call it, and its bytes. ``key`` is the same for
    the same file by another name.
    """

    where: str
    content: bytes
    sha256: str
    key: tuple[int, int]


class Includes:
    """What one unit may include: the files below ``directory``, until it is closed.

    Raises FormatError for what is no directory.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory
        self._files: dict[str, Included] = {}
        self._bytes = self._taken = 0
        self._from: dict[str, set[str]] = {}
        try:
            self._root = os.open(directory, _DIRECTORY)
        except (OSError, ValueError) as error:
            raise FormatError(
                f"no directory to include from: {_cause(error)}",
                where=str(directory),
                hint="give --include-dir a directory",
            ) from None

    def close(self) -> None:
        """Read nothing more."""
        os.close(self._root)

    @property
    def used(self) -> tuple[Included, ...]:
        """What was included, in the order of first use."""
        return tuple(self._files.values())

    def text(self, name: str, place: str) -> tuple[Included, str]:
        """The file ``name`` as text, included at ``place`` (``file:line``). Raises AssemblyError,
        also where all that a unit includes is too much.
        """
        found = self.file(name)
        self._taken += len(found.content) + 1
        if self._taken > MAX_TEXT:
            raise AssemblyError(
                f"more than {MAX_TEXT >> 20} MiB are included",
                hint=f"{FIXED}: so much has an assembly file",
            )
        self._from.setdefault(found.where, set()).add(place)
        try:
            return found, found.content.decode()
        except UnicodeDecodeError as error:
            raise AssemblyError(f"`{name}' is not UTF-8 text: byte {error.start}") from None

    def came_from(self, where: str) -> str:
        """Where ``where`` was included, for a message; nothing if it is no such file."""
        first, *others = sorted(self._from.get(where, ("",)))
        return f", included from {first}{' and elsewhere' if others else ''}" if first else ""

    def file(self, name: str) -> Included:
        """The file ``name`` below the directory, read once.

        Raises AssemblyError for a name that leads out of it, for what is no regular file, and for
        what would be too much; FormatError for one that changes meanwhile, later.
        """
        found = self._files.get(name)
        if found is None:
            if len(self._files) >= MAX_FILES:
                raise AssemblyError(f"more than {MAX_FILES} files are included")
            self._files[name] = found = self._read(name)
        return found

    def _read(self, name: str) -> Included:
        where = f"{self._path}/{name}"
        descriptor, status = self._opened(name, _parts(name))
        self._bytes += status.st_size
        file = HostFile(descriptor, status.st_size, where, (status.st_size, status.st_mtime_ns))
        if self._bytes > MAX_BYTES:
            raise AssemblyError(f"more than {MAX_BYTES >> 20} MiB in the files that are included")
        spend(2 * status.st_size, "files that assembly includes", where)
        content = bytearray()
        while chunk := os.pread(file.descriptor, file.size - len(content), len(content)):
            content += chunk
        digest = hashlib.sha256(content).hexdigest()
        return Included(where, bytes(content), digest, (status.st_dev, status.st_ino))

    def _opened(self, name: str, parts: list[str]) -> tuple[int, os.stat_result]:
        """The descriptor of a regular file, and what it is."""
        *above, last = parts
        at, descriptor = self._root, -1
        try:
            for part in above:
                self._refuse_link(name, part, at)
                inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                self._close(at)
                at = inner
            self._refuse_link(name, last, at)
            # Before it is opened: to open a device may do something.
            if not stat.S_ISREG(os.stat(last, dir_fd=at, follow_symlinks=False).st_mode):
                raise AssemblyError(f"`{name}' is no regular file")
            descriptor = os.open(last, _FILE, dir_fd=at)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                os.close(descriptor)
                raise AssemblyError(f"`{name}' is no regular file")
        except (OSError, ValueError) as error:
            raise AssemblyError(
                f"`{name}' cannot be read below {self._path}: {_cause(error)}",
                hint="give the directory that it is in as --include-dir, or name it from there",
            ) from None
        finally:
            self._close(at)
        return descriptor, status

    def _refuse_link(self, name: str, part: str, at: int) -> None:
        if stat.S_ISLNK(os.stat(part, dir_fd=at, follow_symlinks=False).st_mode):
            raise AssemblyError(
                f"`{name}': {part} is a symbolic link, and none is followed",
                hint="put the file itself there",
            )

    def _close(self, at: int) -> None:
        if at != self._root:
            os.close(at)


def check_included(include_dir: Path | None, *, anything: bool) -> None:
    """Raise FormatError for a directory of which nothing was included."""
    if include_dir is not None and not anything:
        raise FormatError(
            "nothing is included from it",
            where=str(include_dir),
            hint="leave --include-dir out: it is for .include and .incbin of a .S",
        )


def included_by(includes: Includes | None, directive: str) -> Includes:
    """``includes`` for ``directive``; raises AssemblyError if there are none."""
    if includes is None:
        raise AssemblyError(
            f"directive {directive} is not supported",
            hint="no other file is read: put it in the template, or, of a .S, name the directory "
            "below which it is by --include-dir",
        )
    return includes


def file_and_rest(operands: str) -> tuple[str, str]:
    """``"name", rest`` taken apart. Raises AssemblyError."""
    match = _NAME.fullmatch(operands.strip(" \t"))
    if match is None:
        raise AssemblyError("wants the name of a file in double quotes, without a backslash")
    if match["rest"] is not None and not match["rest"].strip():
        raise AssemblyError("empty operand")
    return match["name"], match["rest"] or ""


def _parts(name: str) -> list[str]:
    """The names on the way to a file; raises AssemblyError for one that leads elsewhere."""
    if len(name) > MAX_NAME or name.count("/") >= MAX_PARTS:
        raise AssemblyError(f"the name of a file has more than {MAX_NAME} characters or "
                            f"{MAX_PARTS} parts")  # fmt: skip
    if name.startswith("/"):
        raise AssemblyError(
            f"`{name}' is an absolute path", hint="name it from the directory of --include-dir"
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise AssemblyError(
            f"`{name}' has a `..'",
            hint="give a directory above all that is included as --include-dir",
        )
    if not parts or name.endswith("/"):
        raise AssemblyError(f"`{name}' names no file")
    return parts


def _cause(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
