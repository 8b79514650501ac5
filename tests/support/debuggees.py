"""Machines under a debugger, in this process and by GDB."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from relokit.codegen.target import Regime, Target
from relokit.runtime.debug.debuggee import Debuggee
from relokit.runtime.debug.description import registers
from relokit.runtime.debug.halts import Ready
from relokit.runtime.debug.served import ready
from relokit.runtime.kexec.job import Job
from relokit.runtime.run.prepare import prepare_guest
from support.machines import programs, quiet

GDB = ("gdb-multiarch", "-nx", "-nh", "-batch", "-ex", "set confirm off")
LINE = re.compile(rb"gdb-multiarch.* -ex 'target remote :(\d+)'")
SECONDS = 120.0
"""For a process to end before the test is given up."""


@contextmanager
def debuggee(
    target: Target | None = None,
    job: Job | None = None,
    *,
    seconds: float = 60.0,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[Debuggee]:
    """The machine of ``job`` before its first step."""
    target, job = target or Target(), job or Job()
    regime = target.regime
    own = registers(has_el2=regime is not Regime.EL1, has_vhe=regime is Regime.VHE)
    built = programs(target)

    def build() -> Ready:
        return ready(prepare_guest(target, built, job, quiet), job)

    with closing(Debuggee(build, own, seconds=seconds, interrupted=interrupted)) as one:
        yield one


@contextmanager
def served(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """``relokit debug``, waiting on the port that it has printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relokit", "debug", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = LINE.fullmatch(line.strip())
        assert found, (line, process.stderr.read() if process.stderr else b"")
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def gdb(port: int, *commands: str, symbols: Path | None = None) -> str:
    """What GDB prints of ``commands``; a ``>>>`` line is put before what each says."""
    script = [f"target remote :{port}"]
    for command in commands:
        script += [f"echo >>> {command}\\n", command]
    files = () if symbols is None else (str(symbols),)
    done = subprocess.run(
        [*GDB, *(word for line in script for word in ("-ex", line)), *files],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout.decode()
