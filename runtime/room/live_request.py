"""What the machine room is asked for ``relokit kexec``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from relokit.codegen.base.host_file import HostFile
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.linker.stored_image import decode_image
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.room.requests import Report

if TYPE_CHECKING:
    from relokit.runtime.live.live_outcome import LiveOutcome


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """Boot ``kernel``, have it enter ``next``, and judge that; a trace goes to ``trace``.

    ``init`` is our user space as an ELF file, ``purgatory`` a stored Image;
    ``userland`` an archive that takes the place of our user space.
    """

    job: LiveJob
    kernel: KernelFile
    next: KernelFile
    initrd: HostFile | None
    dtb: HostFile | None
    init: bytes
    purgatory: bytes
    userland: bytes | None = None
    trace: Path | None = None

    def carry_out(self, report: Report) -> LiveOutcome:
        """See Request."""
        from relokit.runtime.live.live_layout import LiveInputs
        from relokit.runtime.live.live_verdict import run_live

        purgatory = decode_image(self.purgatory)
        inputs = LiveInputs(
            self.kernel, self.next, self.initrd, self.dtb, self.init, purgatory, self.userland
        )
        return run_live(self.job, inputs, report, self.trace)
