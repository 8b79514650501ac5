"""Cases as files, for whatever reads by path."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from relokit.codegen.base.host_file import HostFile, forget_files


@cache
def folder() -> Path:
    """A folder, in memory where there is room for that; it goes with the process that asks first,
    and those that it forks share it.
    """
    shared = Path("/dev/shm")
    place = shared if os.access(shared, os.W_OK) else None
    made = tempfile.TemporaryDirectory(prefix="relokit-fuzz-", dir=place)
    _folders.append(made)
    return Path(made.name)


_folders: list[tempfile.TemporaryDirectory[str]] = []


def put(case: bytes, name: str = "case") -> Path:
    """``case`` as a file called ``name``, which was never another."""
    path = folder() / name
    forget_files()
    path.unlink(missing_ok=True)
    path.write_bytes(case)
    return path


def opened(case: bytes) -> HostFile:
    """``case`` as a file that has no name."""
    descriptor = os.memfd_create("case")
    os.write(descriptor, case)
    return HostFile(descriptor, len(case), "case")
