"""A trace and files to ReportFacts: what a report tells beside the verdict."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.host_file import open_file
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.base.version import VERSION
from relokit.linker.kernel.btf import banner_of
from relokit.linker.kernel.opened import Files
from relokit.machines.showing import evidence_in
from relokit.machines.snapshots import snapshot_files
from relokit.runtime.show.shown.memory_shown import MemoryShown
from relokit.runtime.show.shown.question import Question, Topic
from relokit.runtime.show.shown.tables_shown import TablesShown
from relokit.runtime.show.shown.timeline_shown import TimelineShown
from relokit.runtime.timing.counts import MoveCounts
from relokit.timing.timer import MachineTimes, Timer, move_of_trace

N = TypeVar("N")
KERNEL, SNAPSHOT = "kernel", "snapshot"
"""Roles of what is read, and what the kernel is called in a snapshot."""
LIBRARIES = ("unicorn", "keystone-engine", "capstone", "numpy")
MAX_HASHED = 1 << 36
"""Bytes of a file that is hashed."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that was read: what ``role`` it has, its bytes, and a kernel's banner."""

    role: str
    name: str
    bytes: int
    sha256: str
    banner: str | None


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """What the trace of a run shows; None where it has not that, and ``lacks`` says why.

    ``times`` are predicted ones of the move, on machines.
    """

    memory: MemoryShown | None = None
    timeline: TimelineShown | None = None
    tables: TablesShown | None = None
    counts: MoveCounts | None = None
    times: tuple[MachineTimes, ...] = ()
    lacks: tuple[str, ...] = ()


def facts_of_trace(path: Path) -> ReportFacts:
    """What the trace in the file ``path`` has; what it has not is said, and is no error."""
    from relokit.runtime.show.read_evidence import memory_of, tables_of
    from relokit.runtime.show.read_timeline import timeline_shown

    evidence, lacks = evidence_in(path), list[str]()

    def found(make: Callable[[], N]) -> N | None:
        try:
            return make()
        except RelokitError as error:
            lacks.append(error.message)
            return None

    moves = found(lambda: move_of_trace(path))
    report = moves and found(lambda: Timer().times([moves]))
    return ReportFacts(
        memory=found(lambda: memory_of(evidence)),
        timeline=found(lambda: timeline_shown(evidence)),
        tables=found(lambda: tables_of(evidence, Question(Topic.TABLES))),
        counts=moves.counts if moves else None,
        times=report.states[0].machines if report else (),
        lacks=tuple(lacks),
    )


def inputs_of(given: Iterable[tuple[str, Path]], files: Files) -> Iterator[InputFile]:
    """The files of these roles, by their digests; what is no file is left out."""
    for role, path in _each(given):
        if not path.is_file():
            continue
        file = open_file(path, what=f"the {role}", limit=MAX_HASHED)
        digest = hashlib.sha256(file.content).hexdigest()
        banner = None
        if role in (KERNEL, "next"):
            banner = banner_of(files.kernel(path).file.image)
        yield InputFile(role, path.name, len(file.content), digest, banner)


def _each(given: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Path]]:
    """The files that are given, and those of a snapshot, the kernel in it as such."""
    for role, path in given:
        if role == SNAPSHOT:
            for one in snapshot_files(path):
                yield (KERNEL if one.name == KERNEL else role), one
        else:
            yield role, path


def versions() -> tuple[tuple[str, str], ...]:
    """Of this program, Python, and the libraries that decide what comes out."""
    found = [("relokit", VERSION), ("Python", platform.python_version())]
    for name in LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
