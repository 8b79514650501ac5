"""Job to Machine: everything opened, placed and put into guest RAM; and a CPU to run it."""

from __future__ import annotations

from dataclasses import replace

from relokit.codegen.base.errors import MachineError, TargetError
from relokit.codegen.series import BEFORE, COMPLETE, Feature
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.kexec.arrange import add_purgatory, arrange, stages
from relokit.runtime.kexec.hibernate import Resume, build_resume
from relokit.runtime.kexec.inputs import load_inputs
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.machine import Machine, build_machine
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.kexec.routines import Routines, routines_of, with_relocation
from relokit.runtime.run.journey import Report, cpu_in_state


def prepare_machine(
    target: Target,
    programs: Programs,
    job: Job,
    report: Report,
    *,
    relocation: bytes | None = None,
) -> Machine:
    """The machine ``job`` describes, ready to run or to be exported; the caller closes it.

    ``relocation`` is machine code that takes the place of the relocation code, entered at its
    first byte.
    """
    if job.path is KexecPath.HIBERNATE:
        raise MachineError(
            "the resume side of hibernation is no machine about to kexec",
            hint="run it with 'relokit run --path hibernate'",
        )
    image = programs.kernel
    target, routines = _routines(target, image, job)
    if relocation is not None:
        routines = with_relocation(routines, relocation)
    inputs = load_inputs(target, job, programs.demo, kernel_size(image))
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


def prepare_resume(target: Target, programs: Programs, job: Job) -> tuple[Resume, Cpu]:
    """The resume side of hibernation and its CPU, ready to run; the caller closes the former."""
    inputs = load_inputs(target, job, programs.demo, kernel_size(programs.kernel))
    resume = build_resume(target, programs.kernel, inputs, job)
    return resume, cpu_in_state(target, inputs.cpu, resume.memory, resume.state)


def kernel_size(image: Image) -> int:
    """Bytes of memory that a linked kernel takes."""
    return image.symbol("_end") - image.symbol("_text")


def open_cpu(machine: Machine) -> Cpu:
    """A CPU in the state the old kernel has it when it calls machine_kexec."""
    return cpu_in_state(machine.target, machine.inputs.cpu, machine.memory, machine.state)


def _routines(target: Target, image: Image, job: Job) -> tuple[Target, Routines]:
    """Ours, or those of the shipped kernel ``job`` names, whose kimage layout then counts."""
    if job.code_from is None:
        return target, routines_of(image)
    from relokit.linker.kernel.btf import kimage_layout_from
    from relokit.linker.kernel.kernel_file import open_kernel
    from relokit.linker.kernel.shipped import shipped_image, shipped_series

    kernel = open_kernel(job.code_from)
    built_for = kernel.header.page_size
    if built_for not in (None, target.page_size):
        raise TargetError(
            f"its code is built for {built_for // 1024}k pages, and the target has "
            f"{target.page_name}",
            where=str(job.code_from),
            hint=f"add --page-size {built_for // 1024}k",
        )
    where = str(job.code_from)
    layout = kimage_layout_from(kernel.image, where=where)
    shipped = shipped_image(kernel)
    # What its entry expects changes twice: arguments by kimage (patch 7), then the MMU on (12).
    if shipped_series(shipped) == BEFORE and target.has(Feature.KIMAGE_ARGUMENT):
        raise TargetError(
            f"its relocation code is from before the series, and the target is state "
            f"{target.series}",
            where=where,
            hint="add --series 0",
        )
    if shipped_series(shipped) == COMPLETE and not target.has(Feature.MMU_ON):
        raise TargetError(
            f"its relocation code has the whole series, and the target is state {target.series}",
            where=where,
            hint="leave --series out",
        )
    return replace(target, layout=layout), routines_of(shipped)
