"""``relokit.debug``: a machine under GDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from relokit.arguments import job_or_default
from relokit.codegen.base.atomic import replacing
from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Target
from relokit.linker.kernel.opened import Files
from relokit.machines.snapshots import opened_snapshot
from relokit.runtime.kexec.job import Job
from relokit.runtime.room.debug_request import (
    Debugged,
    DebugRequest,
    MachineOfSetup,
    MachineOfSnapshot,
    SymbolsRequest,
)
from relokit.session import GRACE, Progress, process_session

SECONDS = 86_400.0
"""A debugger is served for so long at most."""
MAX_PORT = (1 << 16) - 1


def debug(
    listening: Callable[[int], None],
    target: Target | None = None,
    job: Job | None = None,
    *,
    port: int = 0,
    snapshot: Path | None = None,
    symbols: Path | None = None,
    files: Files | None = None,
    progress: Progress | None = None,
) -> Debugged:
    """Serve GDB the machine that ``job`` describes, or the one in ``snapshot``, on this host.

    ``listening`` is told the port, once one may connect to it; names and lines of the code are
    written to the ELF file ``symbols`` before that. Returns when the debugger leaves.
    Raises RelokitError for bad input and for a port that cannot be had.
    """
    if not 0 <= port <= MAX_PORT:
        raise MachineError(f"no port {port}", hint=f"give 0 to {MAX_PORT}")
    session, files = process_session(), files or Files()
    machine: MachineOfSetup | MachineOfSnapshot
    if snapshot is None:
        machine = MachineOfSetup(session.setup(target, job, files))
    else:
        session.start()
        found, kernel, job = opened_snapshot(snapshot, job_or_default(job), files)
        machine = MachineOfSnapshot(found, kernel.file, job)
    if symbols is not None:
        with replacing(symbols) as temporary:
            session.ask(SymbolsRequest(machine, temporary), int, GRACE, progress)
    request = DebugRequest(machine, port)
    return session.ask(request, Debugged, SECONDS, progress, listening=listening)
