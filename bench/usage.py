"""What a command takes: CPU time of all its processes, wall time, and memory at its peak."""

from __future__ import annotations

import ctypes
import os
import resource
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter, sleep

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): orphans of our descendants become our children, so that their time is counted."""
SAMPLE_SECONDS = 0.005
ORPHAN_LOOKS = 6000
"""Looks at what a command leaves behind before that is an error: half a minute."""


class BenchError(Exception):
    """A measurement cannot be made; the message says why."""


@dataclass(frozen=True)
class Usage:
    """What one command took, with every process that it started and left behind.

    ``cpu`` and ``wall`` are seconds, ``out`` is what it printed.
    """

    cpu: float
    wall: float
    out: str


@dataclass(frozen=True)
class Peak:
    """Most bytes at a time: of ``all`` processes, shared pages once; of the ``largest`` alone.

    ``files`` are those of ``all`` that are pages of mapped files.
    """

    all: int
    largest: int
    files: int


def measure(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> Usage:
    """Run ``command`` to its end. Raises BenchError unless it ends with 0 or 1, a verdict."""
    _adopt_orphans()
    ours = _children(os.getpid())
    before = children_cpu()
    start = perf_counter()
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        process.wait()
        wall = perf_counter() - start
        _reap_orphans(ours)
        out.seek(0)
        err.seek(0)
        if process.returncode not in (0, 1):
            raise BenchError(f"{shlex.join(map(str, command))}: {err.read().strip()[-500:]}")
        return Usage(children_cpu() - before, wall, out.read())


def timed(*commands: Sequence[str | Path], verdict: bool = False) -> float:
    """Seconds that ``commands`` take, one after the other.

    Raises CalledProcessError for an exit code but 0; 1 is none if it is a ``verdict``.
    """
    start = perf_counter()
    for command in commands:
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if not (verdict and done.returncode == 1):
            done.check_returncode()
    return perf_counter() - start


def peak_memory(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> Peak:
    """What ``command`` and all below it hold, looked at every few milliseconds.

    Looking takes time: this is no run for anything else. (What wait4 says of the largest process
    counts what this one had when it forked, so it is of no use.)
    """
    with subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        together, largest = [0, 0], 0
        while process.poll() is None:
            tree = _tree(process.pid)
            held = [_kib(pid, "smaps_rollup", "Pss:", "Pss_File:") for pid in tree]
            together = max(together, [sum(column) for column in zip(*held, strict=True)])
            largest = max(largest, *(_kib(pid, "status", "VmHWM:")[0] for pid in tree))
            sleep(SAMPLE_SECONDS)
    return Peak(together[0] << 10, largest << 10, together[1] << 10)


def _adopt_orphans() -> None:
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise BenchError("prctl(PR_SET_CHILD_SUBREAPER) is refused")


def _reap_orphans(ours: set[int]) -> None:
    """Wait for whoever is left but ``ours``, so that their time is counted."""
    for _ in range(ORPHAN_LOOKS):
        left = _children(os.getpid()) - ours
        if not left:
            return
        for pid in left:
            os.waitpid(pid, os.WNOHANG)
        sleep(SAMPLE_SECONDS)
    raise BenchError("a process outlives the command that started it")


def children_cpu() -> float:
    """Seconds of CPU time of all children that were waited for, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree(pid: int) -> list[int]:
    """``pid`` and its descendants, as far as they are still there."""
    found = [pid]
    for parent in found:
        found += _children(parent)
    return found


def _children(pid: int) -> set[int]:
    """Those of one process; none of one that is gone."""
    found: set[int] = set()
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found.update(map(int, (task / "children").read_text().split()))
    except OSError:
        pass
    return found


def _kib(pid: int, file: str, *fields: str) -> list[int]:
    """Fields of /proc/PID/FILE in KiB; nothing of a process that is gone."""
    found = dict.fromkeys(fields, 0)
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return list(found.values())
    for line in lines:
        name, *rest = line.split()
        if name in found:
            found[name] += int(rest[0])
    return list(found.values())
