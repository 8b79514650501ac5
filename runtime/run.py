"""Machine to Outcome: run machine_kexec and the relocation, then compare everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

from relokit.codegen.errors import TargetError
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime import contract
from relokit.runtime.arrange import add_purgatory, arrange, stages
from relokit.runtime.console import run_on
from relokit.runtime.cpu import Cpu, Stop, StopReason
from relokit.runtime.diagnosis import diagnose
from relokit.runtime.inputs import load_inputs
from relokit.runtime.job import Job, KexecPath
from relokit.runtime.kimage import total_pages
from relokit.runtime.machine import Machine, build_machine
from relokit.runtime.outcome import (
    Finding,
    Handoff,
    Outcome,
    Relocation,
    Status,
    target_json,
)
from relokit.runtime.payload import verify
from relokit.runtime.programs import Programs, demo_kernel
from relokit.runtime.regime import SCTLR_M
from relokit.runtime.routines import Routines, routines_of

Report = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

# machine_kexec is some sixty instructions; the rest is slack for a broken one to be caught.
PRELUDE_INSTRUCTIONS = 100_000
PRELUDE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Move:
    """How far the guest got: the state at the jump, and how the run ended."""

    jumped: bool
    el: int
    sctlr: int
    stop: Stop


def run(target: Target, programs: Programs, job: Job, report: Report) -> Outcome:
    """Build the machine ``job`` describes and judge what happens in it.

    Raises RelokitError for bad input; whatever the guest does is in the Outcome.
    """
    started = perf_counter()
    machine = prepare_machine(target, programs, job, report)
    try:
        return judge(machine, job, report, built=perf_counter() - started)
    finally:
        machine.close()


def prepare_machine(target: Target, programs: Programs, job: Job, report: Report) -> Machine:
    """The machine ``job`` describes, ready to run or to be exported; the caller closes it."""
    image = programs.kernel
    target, routines = _routines(target, image, job)
    size = image.symbol("_end") - image.symbol("_text")
    inputs = arrange(
        load_inputs(target, job, demo_kernel(programs.demo), size), target, job.shape, job.seed
    )
    entry = None
    if job.path is KexecPath.PURGATORY:
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
            findings.append(diagnose(machine, cpu, stop))
            break
        handoff = _handoff(machine, cpu)
        findings += contract.check_handoff(machine, cpu, handoff, stage)
    else:
        findings += contract.check_jump(machine, move.el, move.sctlr)
        verified, wrong = _verify(machine, report)
        findings += wrong
        compared = perf_counter() - started
        if job.boot and not findings:
            console, ended, failed = run_on(machine, cpu, job.boot, report)
            findings += failed
    pages = 0
    if not machine.kimage.in_place:
        pages = total_pages(machine.kimage.segments, machine.target.page_size)
    return Outcome(
        status=Status.FAIL if findings else Status.PASS,
        target=target_json(machine.target),
        payload=machine.inputs.description,
        relocation=Relocation(
            bytes=pages * machine.target.page_size,
            pages=pages,
            el=move.el,
            mmu=bool(move.sctlr & SCTLR_M),
            sctlr=move.sctlr,
            instructions=move.stop.instructions if move.jumped else 0,
            seconds=move.stop.seconds if move.jumped else 0.0,
        ),
        handoff=handoff,
        verified_bytes=verified,
        findings=tuple(findings),
        console=console,
        ended=ended,
        timings={"build": built, "compare": compared},
    )


def open_cpu(machine: Machine) -> Cpu:
    """A CPU in the state the old kernel has it when it calls machine_kexec."""
    line = machine.target.cache_line
    cpu = Cpu(
        machine.inputs.cpu,
        machine.memory,
        softmmu_page=machine.target.page_size,
        cache_line=None if line == 64 else line,
    )
    for name, value in machine.state.sysregs:
        cpu.write(name, value)
    cpu.set_el(machine.state.el)
    for number, value in enumerate(machine.state.x):
        cpu.set_x(number, value)
    return cpu


def relocate(machine: Machine, cpu: Cpu, job: Job, report: Report) -> Move:
    """Run machine_kexec up to the jump, then the relocation up to the new kernel."""
    prelude = cpu.run(
        machine.state.pc,
        until=machine.start if machine.jump is None else machine.jump,
        max_instructions=PRELUDE_INSTRUCTIONS,
        timeout_s=PRELUDE_SECONDS,
    )
    el, sctlr = cpu.el, cpu.read(f"SCTLR_EL{max(cpu.el, 1)}")
    if prelude.reason is not StopReason.REACHED:
        return Move(False, el, sctlr, prelude)
    if machine.jump is None:
        return Move(True, el, sctlr, replace(prelude, instructions=0, seconds=0.0))
    # RAM is there before the machine is on; the host's first touch of a page is no part of it.
    for segment in machine.kimage.segments:
        size = segment.pages(machine.target.page_size) * machine.target.page_size
        machine.memory.populate(segment.mem, size)
    # Eleven instructions move 64 bytes and four clean a line of them: close enough for a bar.
    expected = total_pages(machine.kimage.segments, 1) // 64 * 15 + 1

    def progress(instructions: int) -> None:
        report("relocate", min(instructions, expected), expected)

    stop = cpu.run(
        machine.jump,
        until=machine.start,
        max_instructions=job.max_instructions,
        timeout_s=job.timeout,
        progress=progress,
    )
    return Move(True, el, sctlr, stop)


def _routines(target: Target, image: Image, job: Job) -> tuple[Target, Routines]:
    """Ours, or those of the shipped kernel ``job`` names, whose kimage layout then counts."""
    if job.code_from is None:
        return target, routines_of(image)
    from relokit.linker.btf import kimage_layout_from
    from relokit.linker.kernel_file import open_kernel
    from relokit.linker.shipped import shipped_image

    kernel = open_kernel(job.code_from)
    built_for = kernel.header.page_size
    if built_for not in (None, target.page_size):
        raise TargetError(
            f"its code is built for {built_for // 1024}k pages, and the target has "
            f"{target.page_name}",
            where=str(job.code_from),
            hint=f"add --page-size {built_for // 1024}k",
        )
    layout = kimage_layout_from(kernel.image)
    return replace(target, layout=layout), routines_of(shipped_image(kernel))


def _handoff(machine: Machine, cpu: Cpu) -> Handoff:
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
