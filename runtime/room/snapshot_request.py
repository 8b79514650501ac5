"""What the machine room is asked for ``relokit run --snapshot``."""

from __future__ import annotations

from pathlib import Path

from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.linker.kernel.opened import OpenedKernel
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.room.requests import Report, RoomVoice
from relokit.runtime.snapshot.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """Go on from ``snapshot``, in which ``kernel`` runs, and judge; a trace goes to ``trace``.

    Somebody who is ``watching`` is told at once what the next kernel prints.
    """

    snapshot: Snapshot
    kernel: KernelFile
    job: Job
    trace: Path | None = None
    watching: bool = False

    def carry_out(self, report: Report) -> Outcome:
        """See Request."""
        from relokit.runtime.live.taken_up import take_up

        watcher = report if self.watching and isinstance(report, RoomVoice) else None
        kernel = OpenedKernel(self.kernel)
        return take_up(self.snapshot, kernel, self.job, report, self.trace, watcher)
