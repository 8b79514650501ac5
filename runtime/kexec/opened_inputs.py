"""What a job names, opened: once, in the process that was asked; the room gets it as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.series import BEFORE, COMPLETE, Feature
from relokit.codegen.target import Target
from relokit.linker.kernel.opened import Files
from relokit.runtime.kexec.job import Job

if TYPE_CHECKING:
    from relokit.linker.kernel.kernel_file import KernelFile
    from relokit.linker.kernel.shipped import ShippedCode

MAX_INITRD = 1 << 34


@dataclass(frozen=True, slots=True)
class OpenedInputs:
    """The files of a job, and the code that runs in place of ours; None where there is none."""

    kernel: KernelFile | None = None
    initrd: HostFile | None = None
    dtb: HostFile | None = None
    code: ShippedCode | None = None


def open_inputs(job: Job, files: Files | None = None) -> OpenedInputs:
    """Open what ``job`` names, unless ``files`` has it; raises FormatError naming what is wrong."""
    from relokit.runtime.board.fdt import MAX_DTB

    files = files or Files()
    return OpenedInputs(
        kernel=None if job.kernel is None else files.kernel(job.kernel).file,
        initrd=(
            None
            if job.initrd is None
            else files.file(job.initrd, what="an initrd", limit=MAX_INITRD)
        ),
        dtb=(
            None
            if job.dtb is None
            else files.file(job.dtb, what="a device tree blob (.dtb)", limit=MAX_DTB)
        ),
        code=None if job.code_from is None else files.kernel(job.code_from).code,
    )


def target_for(target: Target, code: ShippedCode | None) -> Target:
    """``target`` with the struct kimage that ``code`` reads: what hands over has to fill that in.

    Raises TargetError where the code is for another page size or state of the series.
    """
    if code is None:
        return target
    if code.page_size not in (None, target.page_size):
        assert code.page_size is not None
        raise TargetError(
            f"its code is built for {code.page_size // 1024}k pages, and the target has "
            f"{target.page_name}",
            where=code.where,
            hint=f"add --page-size {code.page_size // 1024}k",
        )
    from relokit.linker.kernel.shipped import shipped_series

    series = shipped_series(code.image)
    # What its entry expects changes twice: arguments by kimage (patch 7), then the MMU on (12).
    if series == BEFORE and target.has(Feature.KIMAGE_ARGUMENT):
        raise TargetError(
            f"its relocation code is from before the series, and the target is state "
            f"{target.series}",
            where=code.where,
            hint="add --series 0",
        )
    if series == COMPLETE and not target.has(Feature.MMU_ON):
        raise TargetError(
            f"its relocation code has the whole series, and the target is state {target.series}",
            where=code.where,
            hint="leave --series out",
        )
    return replace(target, layout=code.layout)
