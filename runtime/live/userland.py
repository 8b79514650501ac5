"""A person's own user space, a folder or an archive, as the initramfs of the first kernel."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import read_small
from relokit.runtime.guest.payload import ARCHIVES
from relokit.runtime.live.cpio import ALIGN, DEVICE, DIRECTORY, TRAILER, ArchiveEntry, archive

MAX_BYTES = 1 << 30
MAX_FILES = 1 << 16
_WHAT = "a folder or a cpio archive"
_SMALLER = "what the first kernel needs"
NEXT, NEXT_INITRD, NEXT_TREE = "next", "next-initrd", "next.dtb"
"""What the next kernel is given, as files at the top of the first one's initramfs."""


def read_userland(path: Path) -> bytes:
    """The archive at ``path``, or one of the folder there; raises FormatError for anything else.

    A folder's files keep their modes and links; a console is added. Device nodes are left out.
    """
    where = str(path)
    try:
        if path.is_dir():
            return archive(_bounded(_entries(path), where))
        return _checked(read_small(path, what=_WHAT, limit=MAX_BYTES), where)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", where=where) from None


def _checked(data: bytes, where: str) -> bytes:
    """``data`` if a kernel takes it for an initramfs: it skips zeros before an archive."""
    begin = re.search(rb"[^\0]", data)
    if begin is None or not data.startswith(ARCHIVES, begin.start()):
        raise FormatError(
            "no archive that a kernel unpacks" if begin else "there is nothing in it",
            where=where,
            hint="give a folder, or a cpio archive (newc), compressed or not",
        )
    return data


def with_next(userland: bytes, files: dict[str, bytes | memoryview]) -> bytes:
    """``userland`` behind an archive of ``files`` by name: a kernel unpacks one after the other."""
    entries = [ArchiveEntry(name, 0o100644, data) for name, data in files.items()]
    own = archive(entries)
    return own + bytes(-len(own) % ALIGN) + userland


def _entries(root: Path) -> Iterator[ArchiveEntry]:
    """What is in ``root``, in an order that does not depend on the host."""
    # It may lead to what is there in the guest only.
    if not os.path.lexists(root / "init"):
        raise FormatError("has no init", where=str(root), hint="the first kernel runs /init")
    if not (root / "dev").exists():
        yield ArchiveEntry("dev", DIRECTORY)
    console = ArchiveEntry("dev/console", DEVICE, device=(5, 1))
    placed = not (root / "dev").exists()
    if placed:
        yield console
    for folder, folders, names in os.walk(root, onerror=_refuse):
        folders.sort()
        at = Path(folder).relative_to(root)
        if at != Path():
            yield ArchiveEntry(str(at), stat.S_IFDIR | (Path(folder).stat().st_mode & 0o7777))
        if at == Path("dev") and not placed:
            yield console
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*names, *links]):
            file = Path(folder) / name
            found = file.lstat()
            mode = found.st_mode
            if stat.S_ISLNK(mode):
                yield ArchiveEntry(str(at / name), mode, os.fsencode(os.readlink(file)))
            elif stat.S_ISREG(mode):
                spend(found.st_size, "files of a userland", str(file))
                data = read_small(file, what=_SMALLER, limit=MAX_BYTES)
                yield ArchiveEntry(str(at / name), mode, data)


def _refuse(error: OSError) -> NoReturn:
    raise error


def _bounded(entries: Iterator[ArchiveEntry], where: str) -> Iterator[ArchiveEntry]:
    size = count = 0
    for one in entries:
        size, count = size + len(one.data), count + 1
        if one.path == TRAILER:
            raise FormatError(
                f"a kernel unpacks nothing behind a file called {TRAILER}",
                where=where,
                hint="give it another name, or put it into a folder",
            )
        if size > MAX_BYTES or count > MAX_FILES:
            raise _too_large(where)
        yield one


def _too_large(where: str) -> FormatError:
    return FormatError(
        f"more than {MAX_BYTES >> 20} MiB, or {MAX_FILES} files",
        where=where,
        hint="leave out what the first kernel does not need",
    )
