"""What the machine room is asked for ``relokit debug``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.linker.kernel.opened import OpenedKernel
from relokit.runtime.kexec.job import Job
from relokit.runtime.room.requests import Report, RoomVoice, Setup
from relokit.runtime.snapshot.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from relokit.runtime.kexec.hibernate import Resume
    from relokit.runtime.kexec.machine import Machine


@dataclass(frozen=True, slots=True)
class Debugged:
    """Where a debugger has left a guest: after how many instructions, and why."""

    instructions: int
    ended: str


@dataclass(frozen=True, slots=True)
class MachineOfSetup:
    """The machine of ``setup``, as often as it is asked for."""

    setup: Setup

    @property
    def job(self) -> Job:
        """What has the limits."""
        return self.setup.job

    def builder(self, report: Report) -> Callable[[], Machine | Resume]:
        """What makes it."""
        from relokit.runtime.run.prepare import prepare_guest

        setup = self.setup
        programs = setup.programs.decoded()
        return lambda: prepare_guest(setup.target, programs, setup.job, report, setup.opened)


@dataclass(frozen=True, slots=True)
class MachineOfSnapshot:
    """The machine in ``snapshot``, in which ``kernel`` runs, as often as it is asked for."""

    snapshot: Snapshot
    kernel: KernelFile
    job: Job

    def builder(self, _: Report) -> Callable[[], Machine | Resume]:
        """What makes it."""
        from relokit.runtime.live.taken_up import machine_of

        return lambda: machine_of(self.snapshot, OpenedKernel(self.kernel))[0]


@dataclass(frozen=True, slots=True)
class DebugRequest:
    """Serve a debugger ``machine`` on ``port`` of this host."""

    machine: MachineOfSetup | MachineOfSnapshot
    port: int

    def carry_out(self, report: Report) -> Debugged:
        """See Request."""
        from relokit.runtime.debug.served import serve_guest

        assert isinstance(report, RoomVoice)
        build = self.machine.builder(report)
        return Debugged(*serve_guest(build, self.machine.job, self.port, report.listening))


@dataclass(frozen=True, slots=True)
class SymbolsRequest:
    """Write names and lines of the code of ``machine`` as an ELF to ``path``."""

    machine: MachineOfSetup | MachineOfSnapshot
    path: Path

    def carry_out(self, report: Report) -> int:
        """See Request; bytes of the file."""
        from relokit.linker.elf.elf_writer import write_exec
        from relokit.runtime.state.symbol_file import symbol_image

        machine = self.machine.builder(report)()
        try:
            return self.path.write_bytes(write_exec(symbol_image(machine)))
        except OSError as error:
            raise RelokitError(
                f"cannot be written: {error.strerror or error}", where=str(self.path.parent)
            ) from None
        finally:
            machine.close()
