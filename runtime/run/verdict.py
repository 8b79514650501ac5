"""Job to Outcome: the machine is built, run, judged, and let run on if that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter

from relokit.codegen.target import Target
from relokit.runtime.guest.payload import PayloadKind, PayloadPart
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.outcome import (
    Handoff,
    JudgedTarget,
    Outcome,
    RelocationRun,
    Status,
    TraceFile,
)
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import total_pages
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.maintenance import Maintenance, maintenance_of
from relokit.runtime.kexec.opened_inputs import OpenedInputs
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import JumpFacts, LegName, Record
from relokit.runtime.record.stations import CpuFacts
from relokit.runtime.run.console import run_on
from relokit.runtime.run.execute import execute, execute_resume
from relokit.runtime.run.journey import Report
from relokit.runtime.run.prepare import open_cpu, prepare_machine, prepare_resume


def run(
    target: Target,
    programs: Programs,
    job: Job,
    report: Report,
    opened: OpenedInputs | None = None,
    trace: Path | None = None,
) -> Outcome:
    """Build the machine ``job`` describes and judge what happens in it.

    What the CPU does up to the new kernel is written to the file ``trace``, if there is one to be.

    ``opened`` are the job's files, if they are open already. Raises RelokitError for bad input;
    whatever the guest does is in the Outcome.
    """
    started = perf_counter()
    if job.path is KexecPath.HIBERNATE:
        return run_resume(target, programs, job, report, opened, trace)
    machine = prepare_machine(target, programs, job, report, opened)
    try:
        return run_machine(machine, job, report, trace, built=perf_counter() - started)
    finally:
        machine.close()


def run_machine(
    machine: Machine, job: Job, report: Report, trace: Path | None = None, *, built: float = 0.0
) -> Outcome:
    """Execute a machine that is ready, then judge; the new kernel runs on only if that is well."""
    cpu = open_cpu(machine)
    started = perf_counter()
    record = execute(machine, cpu, job, report)
    written = _written(record, trace)
    pages = 0
    if not machine.kimage.in_place:
        pages = total_pages(machine.kimage.segments, machine.target.page_size)
    outcome = conclude(
        record,
        machine.target,
        machine.inputs.description,
        pages,
        maintenance=maintenance_of(
            machine.target,
            machine.kimage,
            code=len(machine.routines.relocation),
            crash=job.path is KexecPath.CRASH,
        ),
        strict=job.strict,
    )
    engine = sum(leg.stop.seconds for leg in record.legs)
    timings = {"build": built, "compare": perf_counter() - started - engine}
    if job.boot and outcome.passed:
        record = replace(record, boot=run_on(machine, cpu, job.boot, report))
        outcome = conclude(
            record,
            machine.target,
            machine.inputs.description,
            pages,
            outcome.maintenance,
            strict=job.strict,
        )
    return replace(outcome, timings=timings, trace=written)


def run_resume(
    target: Target,
    programs: Programs,
    job: Job,
    report: Report,
    opened: OpenedInputs | None = None,
    trace: Path | None = None,
) -> Outcome:
    """The resume side of hibernation: what is moved are the pages of the resumed kernel."""
    started = perf_counter()
    resume, cpu = prepare_resume(target, programs, job, opened)
    try:
        built = perf_counter() - started
        started = perf_counter()
        record = execute_resume(resume, cpu, job, report)
        written = _written(record, trace)
        home = resume.home
        kind = PayloadKind.PATTERN
        payload = PayloadPart(str(home.owner), kind, home.base, home.size, home.size)
        pages = home.size // target.page_size
        outcome = conclude(record, target, (payload,), pages, strict=job.strict)
        engine = sum(leg.stop.seconds for leg in record.legs)
        compared = perf_counter() - started - engine
        timings = {"build": built, "compare": compared}
        return replace(outcome, timings=timings, trace=written)
    finally:
        resume.close()


def _written(record: Record, path: Path | None) -> TraceFile | None:
    if path is None or isinstance(record.trace, Unknown):
        return None
    from relokit.runtime.run.tracing import write_trace

    return write_trace(record.trace, path)


def conclude(
    record: Record,
    target: Target,
    payload: tuple[PayloadPart, ...],
    pages: int,
    maintenance: tuple[Maintenance, ...] = (),
    *,
    strict: bool = False,
) -> Outcome:
    """Judge ``record``, and say with it what was moved: ``pages`` of ``payload``.

    A warning fails it if it is ``strict``.
    """
    judged = judge(record)
    boot = record.boot
    return Outcome(
        status=Status.FAIL if judged.failed or (strict and not judged.flawless) else Status.PASS,
        target=JudgedTarget.of(target),
        payload=payload,
        relocation=relocation_run(record, pages, target.page_size),
        handoff=_handoff(record.reached[-1]) if record.reached else None,
        verified_bytes=verified_bytes(record, target.page_size),
        findings=judged.findings,
        rules=judged.answers,
        console=boot.console if boot else None,
        ended=boot.ended if boot else None,
        maintenance=maintenance,
        operations=record.operations,
        strict=strict,
    )


def relocation_run(record: Record, pages: int, page_size: int) -> RelocationRun:
    """The move in figures, ``pages`` being what it had to copy."""
    cpu = before_the_move(record)
    move = record.leg(LegName.MOVE)
    return RelocationRun(
        bytes=pages * page_size,
        pages=pages,
        el=cpu.el,
        mmu=cpu.mmu,
        sctlr=cpu.sctlr,
        instructions=move.instructions if move else 0,
        seconds=move.seconds if move else 0.0,
    )


def before_the_move(record: Record) -> CpuFacts:
    """The CPU at the jump; without one, where the old kernel's last steps ended."""
    if isinstance(record.jump, JumpFacts):
        return record.jump.cpu
    if record.scene is not None and not record.reached:
        return record.scene.cpu
    return record.reached[0]


def verified_bytes(record: Record, page_size: int) -> int:
    """Bytes found where they belong, whole pages; 0 if nothing was compared."""
    if isinstance(record.arrived, Unknown):
        return 0
    results = [arrival.result for arrival in record.arrived]
    return sum(result.pages - result.bad_pages for result in results) * page_size


def _handoff(cpu: CpuFacts) -> Handoff:
    return Handoff(
        pc=cpu.pc,
        el=cpu.el,
        x0=cpu.x[0],
        x1=cpu.x[1],
        x2=cpu.x[2],
        x3=cpu.x[3],
        mmu=cpu.mmu,
        sctlr=cpu.sctlr,
        daif=cpu.daif,
    )
