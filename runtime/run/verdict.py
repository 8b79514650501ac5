"""Job to Outcome: the machine is built, run, judged, and let run on if that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter

from relokit.codegen.kexec_routines import CodeUsed
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.evidence.conclusion import conclude
from relokit.runtime.evidence.evidence import Evidence, Subject
from relokit.runtime.guest.payload import PayloadKind, PayloadPart
from relokit.runtime.judge.outcome import JudgedTarget, Outcome, TraceFile
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import total_pages
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.maintenance import maintenance_of
from relokit.runtime.kexec.opened_inputs import OpenedInputs
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.run.console import BootWatcher, run_on
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
    watcher: BootWatcher | None = None,
) -> Outcome:
    """Build the machine ``job`` describes and judge what happens in it.

    What the CPU does up to the new kernel is written to the file ``trace``, if there is one to be.

    ``opened`` are the job's files, if they are open already; ``watcher`` sees the new kernel run.
    Raises RelokitError for bad input; whatever the guest does is in the Outcome.
    """
    started = perf_counter()
    if job.path is KexecPath.HIBERNATE:
        return run_resume(target, programs, job, report, opened, trace)
    machine = prepare_machine(target, programs, job, report, opened)
    try:
        built, code = perf_counter() - started, _code_used(target, programs, job, opened)
        return run_machine(
            machine, job, report, trace, watcher, programs.demo, built=built, code=code
        )
    finally:
        machine.close()


def run_machine(
    machine: Machine,
    job: Job,
    report: Report,
    trace: Path | None = None,
    watcher: BootWatcher | None = None,
    demo: Image | None = None,
    *,
    built: float = 0.0,
    code: CodeUsed | None = None,
) -> Outcome:
    """Execute a machine that is ready, then judge; the new kernel runs on only if that is well.

    ``demo`` is the demo kernel's Image, if one was built; ``built`` are the seconds that went
    before, ``code`` says which routines are not ours.
    """
    if job.boot:
        # What only a run with --boot needs.
        from relokit.runtime.board.board import needs_room

        needs_room(machine.memory.banks)
    cpu = open_cpu(machine)
    started = perf_counter()
    evidence = Evidence(
        replace(_subject(machine, job), code=code), execute(machine, cpu, job, report)
    )
    outcome = conclude(evidence, strict=job.strict, profile=job.profile)
    engine = sum(leg.stop.seconds for leg in evidence.record.legs)
    timings = {"build": built, "compare": perf_counter() - started - engine}
    if job.boot and outcome.passed:
        if watcher:
            watcher.handed_over(outcome)
        boot = run_on(machine, cpu, job, report, watcher, demo)
        evidence = replace(evidence, record=replace(evidence.record, boot=boot))
        outcome = conclude(evidence, strict=job.strict, profile=job.profile)
    elif outcome.passed:
        cpu.retire()
    return replace(outcome, timings=timings, trace=_written(evidence, outcome, job, trace))


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
        home = resume.home
        kind = PayloadKind.PATTERN
        payload = PayloadPart(str(home.owner), kind, home.base, home.size, home.size)
        pages = sum(end - start for start, end in resume.filled) // target.page_size
        code = _code_used(target, programs, job, opened)
        judged = JudgedTarget.of(target)
        left_out = resume.left_out
        subject = Subject(target.name, judged, (payload,), pages, code=code, left_out=left_out)
        evidence = Evidence(subject, record)
        outcome = conclude(evidence, strict=job.strict, profile=job.profile)
        if outcome.passed:
            cpu.retire()
        engine = sum(leg.stop.seconds for leg in record.legs)
        compared = perf_counter() - started - engine
        timings = {"build": built, "compare": compared}
        return replace(outcome, timings=timings, trace=_written(evidence, outcome, job, trace))
    finally:
        resume.close()


def _code_used(
    target: Target, programs: Programs, job: Job, opened: OpenedInputs | None
) -> CodeUsed | None:
    """Which routines are whose, where some are not ours."""
    if opened is None or opened.code is None:
        return None
    from relokit.linker.foreign.doors import own_parts
    from relokit.runtime.kexec.running import routines_run

    running = routines_run(target, job.path)
    return opened.code.used(target, own_parts(programs.kernel), running)


def _subject(machine: Machine, job: Job) -> Subject:
    """What is run. A kexec of an image in place copies nothing."""
    target, kimage = machine.target, machine.kimage
    return Subject(
        name=target.name,
        target=JudgedTarget.of(target),
        payload=machine.inputs.description,
        left_out=machine.inputs.ram.left_out,
        pages=0 if kimage.in_place else total_pages(kimage.segments, target.page_size),
        # Of a machine that was found nobody knows what C did.
        maintenance=()
        if machine.found
        else maintenance_of(
            target,
            kimage,
            code=len(machine.routines.relocation),
            crash=job.path is KexecPath.CRASH,
        ),
    )


def _written(evidence: Evidence, outcome: Outcome, job: Job, path: Path | None) -> TraceFile | None:
    if path is None:
        return None
    from relokit.runtime.evidence.trace_formats import write_trace

    return write_trace(evidence, outcome, path, job.trace_format)
