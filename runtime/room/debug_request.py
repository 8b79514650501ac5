"""What the machine room is asked for ``relokit debug``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.linker.kernel.opened import OpenedKernel
from relokit.runtime.kexec.job import Job
from relokit.runtime.room.requests import Report, RoomVoice, Setup
from relokit.runtime.snapshot.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from relokit.runtime.kexec.machine import Machine


@dataclass(frozen=True, slots=True)
class Debugged:
    """Where a debugger has left a guest: after how many instructions, and why."""

    instructions: int
    ended: str


@dataclass(frozen=True, slots=True)
class DebugRequest:
    """Serve a debugger the machine of ``setup`` on ``port`` of this host."""

    setup: Setup
    port: int

    def carry_out(self, report: Report) -> Debugged:
        """See Request."""
        from relokit.runtime.run.prepare import prepare_machine

        setup = self.setup
        programs = setup.programs.decoded()

        def build() -> Machine:
            return prepare_machine(setup.target, programs, setup.job, report, setup.opened)

        return _served(build, setup.job, self.port, report)


@dataclass(frozen=True, slots=True)
class DebugSnapshotRequest:
    """The same of the machine in ``snapshot``, in which ``kernel`` runs."""

    snapshot: Snapshot
    kernel: KernelFile
    job: Job
    port: int

    def carry_out(self, report: Report) -> Debugged:
        """See Request."""
        from relokit.runtime.live.taken_up import machine_of

        def build() -> Machine:
            machine, _ = machine_of(self.snapshot, OpenedKernel(self.kernel))
            return machine

        return _served(build, self.job, self.port, report)


def _served(build: Callable[[], Machine], job: Job, port: int, report: Report) -> Debugged:
    from relokit.runtime.debug.served import serve_machine

    assert isinstance(report, RoomVoice)
    return Debugged(*serve_machine(build, job, port, report.listening))
