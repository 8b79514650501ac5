"""The verbs: what the commands do, for a script or a notebook."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from relokit.building import (
    build,
    build_image,
    programs_for,
    render,
    template_overrides,
)
from relokit.codegen.base.child import Child
from relokit.codegen.base.documents import ABSENT, Table, from_data, shown
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.target import Target
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

GRACE = 60.0
"""Seconds a worker gets beyond the guest's own time: building, copying, comparing."""

PROGRAM = "relokit"
"""Name of what ``export`` and ``generate`` make."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A written ELF: its size, and the RAM a bootable one expects, in bytes.

    ``target`` is the name of what it is for.
    """

    SCHEMA: ClassVar[str] = "relokit.export/1"
    DOCUMENT: ClassVar[Table] = {"file": "file", "bytes": "size", **shown("target", "ram")}

    file: Path
    size: int
    target: str
    ram: int | None = field(default=None, metadata=ABSENT)


@lru_cache(maxsize=1)
def worker() -> Child:
    """The process's machine room: the child in which guests run."""
    return Child(
        "relokit.runtime.run.worker", library="the machine (Unicorn)", max_response=1 << 28
    )


def generate(
    directory: Path, target: Target | None = None, *, templates: Path | None = None
) -> list[Path]:
    """Write the rendered units, the ld script and a Makefile to ``directory``; returns the paths.

    All of them appear or, where something cannot be rendered or written, none. Raises RelokitError.
    """
    from relokit.codegen.base.atomic import replacing
    from relokit.codegen.render import render as render_template

    source = render(target, templates=templates)
    units = [unit.name for unit in source.units]
    names = {"units": units, "script": source.script.name, "name": PROGRAM}
    makefile = render_template("Makefile.j2", names, overrides=template_overrides(templates))
    written = []
    # All of them are written beside their places before the first one takes its own.
    with ExitStack() as stack:
        for unit in (*source.units, source.script, makefile):
            path = directory / unit.name
            temporary = stack.enter_context(replacing(path, parents=True))
            temporary.write_bytes(unit.text.encode())
            written.append(path)
    return written


def export(
    path: Path,
    target: Target | None = None,
    *,
    kind: str = "exec",
    job: Job | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write an ELF to ``path``: ``exec`` or ``rel`` of the routines, or a ``bootable`` machine.

    Only a bootable one needs the rest of ``job`` than its templates. The file appears whole, or not
    at all. Raises RelokitError for bad input and for a place that cannot be written.
    """
    from relokit.codegen.base.atomic import replacing, write_atomic

    target, job = target or Target(), job or Job()
    if kind in ("exec", "rel"):
        from relokit.linker.elf.elf_writer import exec_chunks, rel_chunks
        from relokit.linker.link.merge import merge_objects

        if kind == "exec":
            chunks = exec_chunks(build_image(target, templates=job.templates))
        else:
            objects = build(target, templates=job.templates).objects
            chunks = rel_chunks(merge_objects(objects, name=PROGRAM))
        return Exported(path, write_atomic(path, chunks), target.name)
    if kind != "bootable":
        raise RelokitError(f"no {kind!r} kind of ELF", hint="choose exec, rel or bootable")
    with replacing(path) as temporary:
        answer = _ask(target, job, progress, bootable=temporary)
    return Exported(path, answer["bytes"], target.name, answer["ram"])


def run(
    target: Target | None = None, job: Job | None = None, *, progress: Progress | None = None
) -> Outcome:
    """Build for ``target`` and run ``job`` (by default: the demo kernel) in the machine room.

    Returns the Outcome, passed or not; raises RelokitError for bad input and NativeCrashError
    when the engine itself goes down.
    """
    return from_data(Outcome, _ask(target or Target(), job or Job(), progress))


def _with_layout_of(kernel: Path, target: Target) -> Target:
    """``target`` with the struct kimage of a shipped kernel: what hands over to its code has to
    fill in what that code reads.

    Not where the kernel has none of what ``target`` needs: the run refuses that with its reason.
    """
    from relokit.codegen.series import Feature
    from relokit.linker.kernel.btf import kimage_layout_from
    from relokit.linker.kernel.kernel_file import open_kernel

    layout = kimage_layout_from(open_kernel(kernel).image, where=str(kernel))
    if layout.arch is None and target.has(Feature.KIMAGE_ARGUMENT):
        return target
    return replace(target, layout=layout)


def _ask(
    target: Target, job: Job, progress: Progress | None, *, bootable: Path | None = None
) -> Any:
    """Have the machine room carry out ``job``; returns the JSON document it answers with."""
    from relokit.runtime.run.worker import Request, pack

    room = worker()
    room.start()  # it imports while this process builds
    if job.code_from is not None:
        target = _with_layout_of(job.code_from, target)
    request = Request(
        target,
        pack(programs_for(target, job)),
        job,
        bootable,
    )

    def report(message: bytes) -> None:
        if progress:
            stage, done, total = json.loads(message)
            progress(stage, done, total)

    answer = room.call(
        pickle.dumps(request), timeout=job.timeout + (job.boot or 0) + GRACE, progress=report
    )
    return json.loads(answer)
