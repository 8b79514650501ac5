"""Machine to Outcome: run machine_kexec and the relocation, then compare everything."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from time import perf_counter

from relokit.codegen.base.errors import MachineError, TargetError
from relokit.codegen.series import BEFORE, COMPLETE, Feature
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.stop import StopReason
from relokit.runtime.guest.content import verify
from relokit.runtime.guest.payload import PayloadPart
from relokit.runtime.judge import contract
from relokit.runtime.judge.diagnosis import diagnose
from relokit.runtime.judge.integrity import check_integrity
from relokit.runtime.judge.outcome import (
    Finding,
    Handoff,
    JudgedTarget,
    Outcome,
    Status,
)
from relokit.runtime.kexec.arrange import add_purgatory, arrange, stages
from relokit.runtime.kexec.hibernate import build_resume, check_resume
from relokit.runtime.kexec.inputs import load_inputs
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import total_pages
from relokit.runtime.kexec.machine import Machine, build_machine
from relokit.runtime.kexec.maintenance import maintenance_of
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.kexec.routines import Routines, routines_of, with_relocation
from relokit.runtime.run.console import run_on
from relokit.runtime.run.transfer import (
    PRELUDE_INSTRUCTIONS,
    PRELUDE_SECONDS,
    Move,
    Report,
    cpu_in_state,
    transfer,
)


def run(target: Target, programs: Programs, job: Job, report: Report) -> Outcome:
    """Build the machine ``job`` describes and judge what happens in it.

    Raises RelokitError for bad input; whatever the guest does is in the Outcome.
    """
    started = perf_counter()
    if job.path is KexecPath.HIBERNATE:
        return run_resume(target, programs, job, report)
    machine = prepare_machine(target, programs, job, report)
    try:
        return judge(machine, job, report, built=perf_counter() - started)
    finally:
        machine.close()


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


def judge(machine: Machine, job: Job, report: Report, *, built: float = 0.0) -> Outcome:
    """Run a machine that is ready, compare, and let the new kernel go on if ``job`` says so."""
    cpu = open_cpu(machine)
    move = relocate(machine, cpu, job, report)
    return conclude(machine, cpu, move, job, report, built=built)


def conclude(
    machine: Machine, cpu: Cpu, move: Move, job: Job, report: Report, *, built: float = 0.0
) -> Outcome:
    """Judge a move that is over, running what else there is between it and the new kernel."""
    started = perf_counter()
    findings: list[Finding] = []
    handoff = None
    console = ended = None
    verified = 0
    compared = 0.0
    stop = move.stop
    for stage in machine.stages:
        if handoff is not None:
            stop = cpu.run(
                cpu.pc,
                until=stage.pc,
                max_instructions=PRELUDE_INSTRUCTIONS,
                timeout_s=PRELUDE_SECONDS,
            )
        if stop.reason is not StopReason.REACHED or not move.jumped:
            findings += [diagnose(machine, cpu, stop), *check_integrity(machine)]
            break
        handoff = _handoff(cpu)
        findings += contract.check_handoff(machine, cpu, handoff, stage)
    else:
        findings += contract.check_jump(machine, move.el, move.sctlr)
        verified, wrong = _verify(machine, report)
        findings += wrong
        findings += check_integrity(machine)
        compared = perf_counter() - started
        if job.boot and not findings:
            console, ended, failed = run_on(machine, cpu, job.boot, report)
            findings += failed
    pages = 0
    if not machine.kimage.in_place:
        pages = total_pages(machine.kimage.segments, machine.target.page_size)
    return Outcome(
        status=Status.FAIL if findings else Status.PASS,
        target=JudgedTarget.of(machine.target),
        payload=machine.inputs.description,
        relocation=move.relocation(pages, machine.target.page_size),
        handoff=handoff,
        verified_bytes=verified,
        findings=tuple(findings),
        console=console,
        ended=ended,
        timings={"build": built, "compare": compared},
        maintenance=maintenance_of(
            machine.target,
            machine.kimage,
            code=len(machine.routines.relocation),
            crash=job.path is KexecPath.CRASH,
        ),
        operations=move.operations,
    )


def run_resume(target: Target, programs: Programs, job: Job, report: Report) -> Outcome:
    """The resume side of hibernation: what is moved are the pages of the resumed kernel."""
    started = perf_counter()
    inputs = load_inputs(target, job, programs.demo, kernel_size(programs.kernel))
    resume = build_resume(target, programs.kernel, inputs, job)
    try:
        built = perf_counter() - started
        cpu = cpu_in_state(target, inputs.cpu, resume.old.memory, resume.state)
        home = (resume.home.base, resume.home.size)
        move = transfer(cpu, resume.state.pc, resume.jump, resume.entry, [home], job, report)
        started = perf_counter()
        findings = check_resume(resume, cpu, move)
        pages = resume.home.size // target.page_size
        return Outcome(
            status=Status.FAIL if findings else Status.PASS,
            target=JudgedTarget.of(target),
            payload=(
                PayloadPart(
                    str(resume.home.owner),
                    inputs.segments[0].kind,
                    resume.home.base,
                    resume.home.size,
                    resume.home.size,
                ),
            ),
            relocation=move.relocation(pages, target.page_size),
            handoff=_handoff(cpu) if move.arrived else None,
            verified_bytes=0 if findings else resume.home.size,
            findings=tuple(findings),
            timings={"build": built, "compare": perf_counter() - started},
            operations=move.operations,
        )
    finally:
        resume.close()


def kernel_size(image: Image) -> int:
    """Bytes of memory that a linked kernel takes."""
    return image.symbol("_end") - image.symbol("_text")


def open_cpu(machine: Machine) -> Cpu:
    """A CPU in the state the old kernel has it when it calls machine_kexec."""
    return cpu_in_state(machine.target, machine.inputs.cpu, machine.memory, machine.state)


def relocate(
    machine: Machine,
    cpu: Cpu,
    job: Job,
    report: Report,
    watch: AbstractContextManager[object] | None = None,
) -> Move:
    """Run machine_kexec up to the jump, then the relocation, under ``watch``, to the new kernel."""
    page_size = machine.target.page_size
    segments = machine.kimage.segments
    return transfer(
        cpu,
        machine.state.pc,
        machine.jump,
        machine.start,
        [(segment.mem, segment.pages(page_size) * page_size) for segment in segments],
        job,
        report,
        watch,
    )


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


def _handoff(cpu: Cpu) -> Handoff:
    sctlr = cpu.read(f"SCTLR_EL{cpu.el}")
    return Handoff(
        pc=cpu.pc,
        el=cpu.el,
        x0=cpu.x(0),
        x1=cpu.x(1),
        x2=cpu.x(2),
        x3=cpu.x(3),
        mmu=bool(sctlr & SCTLR_M),
        sctlr=sctlr,
        daif=cpu.pstate >> 6 & 0xF,
    )


def _verify(machine: Machine, report: Report) -> tuple[int, list[Finding]]:
    """Compare every segment with its content; returns the bytes that are right."""
    page_size = machine.target.page_size
    total = total_pages(machine.kimage.segments, page_size) * page_size
    done = right = 0
    findings = []
    for loaded in machine.inputs.segments:
        segment = loaded.segment

        def progress(part: int, _: int, before: int = done) -> None:
            report("verify", before + part, total)

        result = verify(
            machine.memory, segment.mem, segment.memsz, page_size, loaded.content, progress
        )
        done += result.pages * page_size
        right += (result.pages - result.bad_pages) * page_size
        if result.first is not None:
            first = result.first
            findings.append(
                Finding(
                    rule="memory.segment",
                    message=f"{segment.name}: {result.bad_pages} of {result.pages} pages are not "
                    "what was to be moved there",
                    address=segment.mem + first.offset,
                    notes=(
                        f"first wrong byte: offset {first.offset:#x}, PA "
                        f"{segment.mem + first.offset:#x}, {first.got:#04x} instead of "
                        f"{first.expected:#04x}",
                    ),
                    cause="a list entry, a table entry or the copy itself sent a page elsewhere",
                )
            )
    return right, findings
