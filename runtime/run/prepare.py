"""Job to Machine: everything opened, placed and put into guest RAM; and a CPU to run it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.kexec.arrange import add_purgatory, arrange, stages
from relokit.runtime.kexec.hibernate import Resume, build_resume
from relokit.runtime.kexec.inputs import load_inputs
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.machine import Machine, build_machine
from relokit.runtime.kexec.opened_inputs import OpenedInputs, open_inputs
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.kexec.routines import Routines, routines_of, with_relocation
from relokit.runtime.run.journey import Report, cpu_in_state

if TYPE_CHECKING:
    from relokit.linker.foreign.code import ForeignCode


def prepare_machine(
    target: Target,
    programs: Programs,
    job: Job,
    report: Report,
    opened: OpenedInputs | None = None,
    *,
    relocation: bytes | None = None,
) -> Machine:
    """The machine ``job`` describes, ready to run or to be exported; the caller closes it.

    ``opened`` are the job's files, if they are open already. ``relocation`` is machine code that
    takes the place of the relocation code, entered at its first byte.
    """
    if job.path is KexecPath.HIBERNATE:
        raise MachineError(
            "the resume side of hibernation is no machine about to kexec",
            hint="run it with 'relokit run --path hibernate'",
        )
    image = programs.kernel
    opened = opened or open_inputs(job)
    routines = _routines(target, image, opened.code)
    if relocation is not None:
        routines = with_relocation(routines, relocation)
    inputs = load_inputs(target, job, opened, programs.demo_file, kernel_size(image))
    inputs = arrange(inputs, target, job.shape, job.seed)
    entry = None
    if job.path is KexecPath.PURGATORY:
        assert programs.purgatory is not None
        inputs, entry = add_purgatory(inputs, target, programs.purgatory)
    return build_machine(
        target,
        image,
        routines,
        inputs,
        stages(inputs, job.path, entry),
        job,
        progress=lambda done, total: report("prepare", done, total),
    )


def prepare_guest(
    target: Target,
    programs: Programs,
    job: Job,
    report: Report,
    opened: OpenedInputs | None = None,
) -> Machine | Resume:
    """What ``job`` describes, to be looked at: a machine, or the resume side of hibernation."""
    if job.path is not KexecPath.HIBERNATE:
        return prepare_machine(target, programs, job, report, opened)
    opened = opened or open_inputs(job)
    inputs = load_inputs(target, job, opened, programs.demo_file, kernel_size(programs.kernel))
    return build_resume(target, programs.kernel, inputs, job)


def prepare_resume(
    target: Target, programs: Programs, job: Job, opened: OpenedInputs | None = None
) -> tuple[Resume, Cpu]:
    """The resume side of hibernation and its CPU, ready to run; the caller closes the former."""
    resume = prepare_guest(target, programs, job, lambda *_: None, opened)
    assert isinstance(resume, Resume)
    return resume, open_cpu(resume)


def kernel_size(image: Image) -> int:
    """Bytes of memory that a linked kernel takes."""
    return image.symbol("_end") - image.symbol("_text")


def open_cpu(guest: Machine | Resume) -> Cpu:
    """A CPU as the old kernel has it when it calls machine_kexec, or swsusp_arch_resume."""
    model = guest.cpu if isinstance(guest, Resume) else guest.inputs.cpu
    return cpu_in_state(guest.target, model, guest.memory, guest.state)


def _routines(target: Target, image: Image, code: ForeignCode | None) -> Routines:
    """What is copied, and the version whose rules the C half goes by."""
    routines = routines_of(image)
    assert code is None or code.unit is None, "code that is not ours is linked before"
    if code is None:
        return routines
    return replace(routines, version=code.version or target.layout.name)
