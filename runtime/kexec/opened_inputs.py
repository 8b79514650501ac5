"""What a job names, opened: once, in the process that was asked; the room gets it as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from relokit.codegen.base.host_file import HostFile
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.opened import Files
from relokit.runtime.kexec.job import Job

if TYPE_CHECKING:
    from pathlib import Path

    from relokit.codegen.gas.instructions.encoder import Encoder
    from relokit.linker.foreign.code import ForeignCode
    from relokit.linker.kernel.kernel_file import KernelFile

MAX_INITRD = 1 << 34


@dataclass(frozen=True, slots=True)
class OpenedInputs:
    """The files of a job, and the code that runs in place of ours; None where there is none."""

    kernel: KernelFile | None = None
    initrd: HostFile | None = None
    dtb: HostFile | None = None
    code: ForeignCode | None = None

    @property
    def for_machine(self) -> OpenedInputs:
        """What a machine needs of it once its programs are linked."""
        return self if self.code is None else replace(self, code=self.code.without_unit)


def open_inputs(
    job: Job, files: Files | None = None, encoder: Callable[[], Encoder] | None = None
) -> OpenedInputs:
    """Open what ``job`` names, unless ``files`` has it; raises FormatError naming what is wrong.

    ``encoder`` is asked for if code to run has to be assembled.
    """
    files = files or Files()
    return OpenedInputs(
        kernel=None if job.kernel is None else files.kernel(job.kernel).file,
        initrd=(
            None
            if job.initrd is None
            else files.file(job.initrd, what="an initrd", limit=MAX_INITRD)
        ),
        dtb=None if job.dtb is None else _dtb(job.dtb, files),
        code=_code(job, files, encoder) if job.code_files else None,
    )


def _dtb(path: Path, files: Files) -> HostFile:
    from relokit.runtime.board.fdt import MAX_DTB

    return files.file(path, what="a device tree blob (.dtb)", limit=MAX_DTB)


def _code(job: Job, files: Files, encoder: Callable[[], Encoder] | None) -> ForeignCode:
    from relokit.codegen.gas.instructions.encoder import Encoder
    from relokit.linker.foreign.doors import open_code

    return open_code(job.code_files, files, encoder or Encoder, job.include_dir)
