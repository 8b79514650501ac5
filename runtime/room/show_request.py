"""What the machine room is asked for ``relokit show``."""

from __future__ import annotations

from typing import Any

from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.linker.kernel.opened import OpenedKernel
from relokit.runtime.kexec.job import Job
from relokit.runtime.room.requests import Report, Setup
from relokit.runtime.show.shown.question import Question
from relokit.runtime.snapshot.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ShowRequest:
    """Answer ``question`` about the machine of ``setup``."""

    question: Question
    setup: Setup

    def carry_out(self, report: Report) -> Any:
        """See Request."""
        from relokit.runtime.run.prepare import prepare_guest
        from relokit.runtime.show.answer import answer

        setup = self.setup
        programs = setup.programs.decoded()
        machine = prepare_guest(setup.target, programs, setup.job, report, setup.opened)
        try:
            return answer(machine, self.question, setup.job)
        finally:
            machine.close()


@dataclass(frozen=True, slots=True)
class ShowSnapshotRequest:
    """Answer ``question`` about the machine in ``snapshot``, in which ``kernel`` runs."""

    question: Question
    snapshot: Snapshot
    kernel: KernelFile
    job: Job

    def carry_out(self, report: Report) -> Any:
        """See Request."""
        from relokit.runtime.live.taken_up import machine_of
        from relokit.runtime.show.answer import answer

        machine, _ = machine_of(self.snapshot, OpenedKernel(self.kernel))
        try:
            return answer(machine, self.question, self.job)
        finally:
            machine.close()
