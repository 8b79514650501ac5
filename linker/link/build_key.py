"""What a linked program depends on, as one digest: the name it is cached under.

Everything is read every time, some hundred small files; dates alone would one day pass off
yesterday's program as today's. But what a running process has imported (or Jinja compiled) before
is not seen by reading files: a process whose files changed since it started gets no digest at all.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from hashlib import blake2b
from pathlib import Path

import relokit.codegen
import relokit.linker
from relokit.codegen.base.version import VERSION
from relokit.codegen.build import Recipe
from relokit.codegen.built_in import TEMPLATES
from relokit.codegen.target import Target

OUR_FOLDERS = (Path(relokit.codegen.__path__[0]), Path(relokit.linker.__path__[0]), TEMPLATES)
LIBRARIES = frozenset({"jinja2", "keystone_engine", "lark"})
MAX_FILES = 2000
MAX_BYTES = 16 << 20
MAX_DEPTH = 16
_METADATA = re.compile(r"(\w+)-(.+)\.(?:dist|egg)-info", re.ASCII)
_CLOCK_STEP = 20_000_000
"""Nanoseconds: how coarse a file's date and the start of a process are, together."""


class _UnknownError(Exception):
    """There is no telling what a program would be built from."""


def sources_digest(overrides: Path | None = None) -> bytes | None:
    """Digest of all that builds a program, whichever: our code, the templates, the libraries.

    ``overrides`` is a directory of templates that win over the built-in ones; a template may read
    any file there. None where there is no telling: a library without a version, a file that cannot
    be read or was changed since this process started, more than MAX_FILES of them.
    """
    digest = blake2b(digest_size=32)
    try:
        _add(digest, json.dumps([VERSION, sys.implementation.cache_tag, _versions()]).encode())
        files = _Files()
        for folder in OUR_FOLDERS if overrides is None else (*OUR_FOLDERS, overrides):
            _add(digest, b"")
            for name, content in files.of(folder):
                _add(digest, os.fsencode(name))
                _add(digest, content)
    except (_UnknownError, OSError):
        return None
    return digest.digest()


def build_key(sources: bytes, recipe: Recipe, target: Target, foreign: str = "") -> str:
    """Digest, in hex, of all that decides what ``recipe`` is for ``target``.

    ``foreign`` is that of the file whose routines take the place of ours, if there is one.
    """
    wanted = json.dumps([asdict(recipe), asdict(target), foreign], sort_keys=True)
    return blake2b(sources + wanted.encode(), digest_size=32).hexdigest()


def _add(digest: blake2b, part: bytes) -> None:
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)


def _versions() -> list[str]:
    """The libraries' metadata by name: to import what reads it takes longer than all the rest."""
    found = set()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        found |= {name.lower() for name in names if name.endswith("-info")}
    matches = [_METADATA.fullmatch(name) for name in sorted(found)]
    ours = [match for match in matches if match and match[1] in LIBRARIES]
    if {match[1] for match in ours} != LIBRARIES:
        raise _UnknownError
    return [match[0] for match in ours]


@cache
def _started() -> int:
    """When this process started, by the host's clock, in nanoseconds."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    ticks = int(fields[19])  # starttime, in clock ticks since boot (proc(5))
    age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 10**9 // os.sysconf("SC_CLK_TCK")
    return time.time_ns() - age


class _Files:
    """Reads folders, at most so much in all."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.latest = _started() - _CLOCK_STEP

    def of(self, folder: Path, name: str = "", depth: int = 0) -> Iterator[tuple[str, bytes]]:
        """Path within the first folder and content of every file, in order; links are followed."""
        if depth > MAX_DEPTH:
            raise _UnknownError
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            inner = f"{name}/{entry.name}"
            if entry.is_symlink():
                self._check(entry.stat(follow_symlinks=False))
            if entry.is_file():
                yield inner, self._read(entry.path)
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from self.of(Path(entry.path), inner, depth + 1)

    def _read(self, path: str) -> bytes:
        with open(path, "rb", buffering=0) as file:
            self._check(os.fstat(file.fileno()))
            content = file.read(MAX_BYTES + 1)
        self.files += 1
        self.bytes += len(content)
        if self.files > MAX_FILES or self.bytes > MAX_BYTES:
            raise _UnknownError
        return content

    def _check(self, facts: os.stat_result) -> None:
        if facts.st_ctime_ns >= self.latest:
            raise _UnknownError
