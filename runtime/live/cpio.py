"""An initramfs: files to an archive in cpio's new ASCII format.

Format: Documentation/driver-api/early-userspace/buffer-format.rst. Same files, same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from relokit.codegen.base.nouns import dataclass

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
ALIGN = 4
DIRECTORY, DEVICE, PROGRAM, FILE = 0o040755, 0o020600, 0o100755, 0o100644


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """A file by its path without the first ``/``; ``device`` is (major, minor) of a node."""

    path: str
    mode: int
    data: bytes | memoryview = b""
    device: tuple[int, int] = (0, 0)


def archive(entries: Iterable[ArchiveEntry]) -> bytes:
    """``entries`` in their order, each folder before what is in it, and the trailer."""
    found = bytearray()
    for number, entry in enumerate((*entries, ArchiveEntry(TRAILER, 0)), 1):
        name = os.fsencode(entry.path) + b"\0"
        fields = (
            number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0,
        )  # fmt: skip
        found += MAGIC + b"".join(b"%08X" % value for value in fields) + name
        found += bytes(-len(found) % ALIGN)
        found += entry.data
        found += bytes(-len(found) % ALIGN)
    return bytes(found)


def user_space(init: bytes, hand_over: bytes | None = None) -> bytes:
    """``init`` with a console; ``hand_over`` is the file that it hands in, if there is one."""
    entries = [
        ArchiveEntry("dev", DIRECTORY),
        ArchiveEntry("dev/console", DEVICE, device=(5, 1)),
        ArchiveEntry("proc", DIRECTORY),
        ArchiveEntry("sys", DIRECTORY),
        ArchiveEntry("init", PROGRAM, init),
    ]
    if hand_over is not None:
        entries.append(ArchiveEntry("hand-over", FILE, hand_over))
    return archive(entries)
