"""Job to MoveCounts: the machine is built and run, and what it did is counted."""

from __future__ import annotations

from collections.abc import Iterable

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Target
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import total_pages
from relokit.runtime.kexec.maintenance import Maintenance, When, maintenance_of
from relokit.runtime.kexec.opened_inputs import OpenedInputs
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.record import Record
from relokit.runtime.run.execute import execute, execute_resume
from relokit.runtime.run.journey import Report
from relokit.runtime.run.prepare import open_cpu, prepare_machine, prepare_resume
from relokit.runtime.timing.counted import counts_of
from relokit.runtime.timing.counts import MoveCounts


def count_move(
    target: Target,
    programs: Programs,
    job: Job,
    report: Report,
    opened: OpenedInputs | None = None,
) -> MoveCounts:
    """Build the machine ``job`` describes, run it to the new kernel, and count.

    Raises MachineError with the reason for what cannot be counted, RelokitError for bad input.
    """
    if job.path is KexecPath.HIBERNATE:
        resume, cpu = prepare_resume(target, programs, job, opened)
        try:
            record = execute_resume(resume, cpu, job, report)
            pages = sum(end - start for start, end in resume.filled) // target.page_size
            return _counted(record, target, pages)
        finally:
            resume.close()
    machine = prepare_machine(target, programs, job, report, opened)
    try:
        cpu = open_cpu(machine)
        record = execute(machine, cpu, job, report)
        if record.complete:
            cpu.retire()
        kimage = machine.kimage
        pages = 0 if kimage.in_place else total_pages(kimage.segments, target.page_size)
        rows = maintenance_of(
            target,
            kimage,
            code=len(machine.routines.relocation),
            crash=job.path is KexecPath.CRASH,
        )
        return _counted(record, target, pages).with_kernel_c(at_the_jump(rows))
    finally:
        machine.close()


def _counted(record: Record, target: Target, pages: int) -> MoveCounts:
    try:
        return counts_of(record, target.name, target.page_size, pages)
    except UnknownFactError as missing:
        raise MachineError(
            f"the move cannot be counted: {missing}",
            hint="'relokit run' with the same options says what becomes of it",
        ) from None


def at_the_jump(rows: Iterable[Maintenance]) -> int:
    """The DC instructions of ``rows`` that C carries out at the jump."""
    return sum(row.instructions for row in rows if row.when is When.JUMP)
