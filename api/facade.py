"""The verbs: what the commands do, for a script or a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from relokit.arguments import job_or_default, target_or_default
from relokit.building import build, build_image, render, template_overrides
from relokit.codegen.base.coercion import argument
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.target import Target
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, TraceFormat
from relokit.session import Exported, Progress, process_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relokit.linker.kernel.opened import Files
    from relokit.runtime.run.console import BootWatcher

PROGRAM = "relokit"
"""Name of what ``export`` and ``generate`` make."""


def generate(
    directory: Path,
    target: Target | None = None,
    *,
    templates: Path | None = None,
    may_overwrite: Callable[[Sequence[Path]], bool] | None = None,
) -> list[Path]:
    """Write the rendered units, the ld script and a Makefile to ``directory``; returns the paths.

    All of them appear or, where something cannot be rendered or written, none. ``may_overwrite`` is
    asked about files that are there and say something else; without it they are replaced. Raises
    RelokitError.
    """
    from relokit.codegen.base.atomic import write_together
    from relokit.codegen.render import render as render_template

    source = render(target, templates=templates)
    units = [unit.name for unit in source.units]
    names = {"units": units, "script": source.script.name, "name": PROGRAM}
    makefile = render_template("Makefile.j2", names, overrides=template_overrides(templates))
    directory = argument("directory", directory, Path)
    return write_together(
        directory,
        {unit.name: unit.text.encode() for unit in (*source.units, source.script, makefile)},
        may_overwrite,
    )


def export(
    path: Path,
    target: Target | None = None,
    *,
    kind: str = "exec",
    job: Job | None = None,
    files: Files | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write an ELF to ``path``: ``exec`` or ``rel`` of the routines, or a ``bootable`` machine.

    Only a bootable one needs the rest of ``job`` than its templates. The file appears whole, or not
    at all. Raises RelokitError for bad input and for a place that cannot be written.
    """
    from relokit.codegen.base.atomic import write_atomic

    path = argument("path", path, Path)
    target, job = target_or_default(target), job_or_default(job)
    if kind in ("exec", "rel"):
        from relokit.linker.elf.elf_writer import exec_chunks, rel_chunks
        from relokit.linker.elf.line_tables import with_lines
        from relokit.linker.link.merge import merge_objects

        if kind == "exec":
            chunks = exec_chunks(with_lines(build_image(target, templates=job.templates)))
        else:
            objects = build(target, templates=job.templates).objects
            chunks = rel_chunks(merge_objects(objects, name=PROGRAM))
        return Exported(path, write_atomic(path, chunks), target.name)
    if kind != "bootable":
        raise RelokitError(f"no {kind!r} kind of ELF", hint="choose exec, rel or bootable")
    return process_session().export(path, target, job, files=files, progress=progress)


def judge(
    path: Path,
    *,
    strict: bool = False,
    profile: str | None = None,
    trace: Path | None = None,
    trace_format: TraceFormat = TraceFormat.RELOKIT,
) -> Outcome:
    """Judge the trace in the file ``path``, which :func:`run` wrote, and run nothing.

    A warning fails it if it is ``strict``; ``profile`` names the CPU that is shown beside the
    worst machine. The trace is written again to the file ``trace``, if there is one to be, in
    ``trace_format``. Raises FormatError for whatever else the file is.
    """
    from relokit.codegen.base.atomic import replacing
    from relokit.codegen.base.host_file import reading
    from relokit.runtime.evidence.evidence_file import judge_file
    from relokit.runtime.evidence.trace_formats import write_trace

    with reading():
        evidence, outcome = judge_file(path, strict=strict, profile=profile)
    if trace is not None:
        with replacing(Path(trace)) as temporary, reading():
            write_trace(evidence, outcome, temporary, TraceFormat(trace_format))
    return outcome


def run(
    target: Target | None = None,
    job: Job | None = None,
    *,
    files: Files | None = None,
    trace: Path | None = None,
    progress: Progress | None = None,
    watcher: BootWatcher | None = None,
) -> Outcome:
    """Build for ``target`` and run ``job`` (by default: the demo kernel) in the machine room.

    ``files`` has what is open already. What the CPU does up to the new kernel is recorded into the
    file ``trace``, if there is one to be. ``watcher`` is told what a new kernel
    prints while it runs on. Returns the Outcome, passed or not; raises RelokitError
    for bad input and NativeCrashError when the engine itself goes down.
    """
    return process_session().run(
        target, job, files=files, trace=trace, progress=progress, watcher=watcher
    )
