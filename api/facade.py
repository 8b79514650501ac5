"""The verbs: what the commands do, for a script or a notebook."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relokit.codegen.child import Child
from relokit.codegen.encoder import Encoder
from relokit.codegen.target import Target
from relokit.runtime.job import Job
from relokit.runtime.outcome import Outcome

if TYPE_CHECKING:
    from relokit.codegen.source import Source
    from relokit.linker.program import Program

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

GRACE = 60.0
"""Seconds a worker gets beyond the guest's own time: building, copying, comparing."""


PROGRAM = "relokit"
"""Name of what ``export`` and ``generate`` make."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A written ELF: its size, and the RAM a bootable one expects, in bytes."""

    size: int
    ram: int | None


@lru_cache(maxsize=1)
def encoder() -> Encoder:
    """The process's Keystone."""
    return Encoder()


@lru_cache(maxsize=1)
def worker() -> Child:
    """The process's machine room: the child in which guests run."""
    return Child("relokit.runtime.worker", library="the machine (Unicorn)", max_response=1 << 28)


def build(target: Target | None = None, *, templates: Path | None = None) -> Program:
    """Render, assemble and link the old kernel's routines for ``target``."""
    from relokit.codegen.build import KERNEL
    from relokit.linker.program import build_program

    return build_program(KERNEL, target or Target(), encoder(), overrides=templates)


def build_demo(target: Target | None = None, *, templates: Path | None = None) -> bytes:
    """The demo kernel as the bytes of an arm64 Image file."""
    from relokit.codegen.build import DEMO
    from relokit.linker.program import build_program
    from relokit.runtime.demo import demo_kernel

    return demo_kernel(
        build_program(DEMO, target or Target(), encoder(), overrides=templates).image
    )


def render(target: Target | None = None, *, templates: Path | None = None) -> Source:
    """The old kernel's routines as GNU as text, and the ld script that places them."""
    from relokit.codegen.build import KERNEL, render_recipe

    return render_recipe(KERNEL, target or Target(), overrides=templates)


def generate(
    directory: Path, target: Target | None = None, *, templates: Path | None = None
) -> list[Path]:
    """Write the rendered units, the ld script and a Makefile to ``directory``; returns the paths.

    Everything is rendered before the first file is written, and each file appears whole.
    """
    from relokit.codegen.render import render as render_template
    from relokit.linker.atomic import write_atomic

    source = render(target, templates=templates)
    units = [unit.name for unit in source.units]
    names = {"units": units, "script": source.script.name, "name": PROGRAM}
    makefile = render_template("Makefile.j2", names, overrides=templates)
    written = []
    for unit in (*source.units, source.script, makefile):
        path = directory / unit.name
        write_atomic(path, [unit.text.encode()], parents=True)
        written.append(path)
    return written


def export(
    path: Path, target: Target | None = None, *, kind: str = "exec", job: Job | None = None
) -> Exported:
    """Write an ELF to ``path``: ``exec`` or ``rel`` of the routines, or a ``bootable`` machine.

    Only a bootable one needs ``job``. The file appears whole, or not at all.
    """
    from relokit.linker.atomic import replacing, write_atomic

    target, job = target or Target(), job or Job()
    if kind != "bootable":
        from relokit.linker.elf_writer import exec_chunks, rel_chunks
        from relokit.linker.merge import merge_objects

        program = build(target, templates=job.templates)
        if kind == "exec":
            chunks = exec_chunks(program.image)
        else:
            chunks = rel_chunks(merge_objects(program.objects, name=PROGRAM))
        return Exported(write_atomic(path, chunks), None)
    with replacing(path) as temporary:
        answer = _ask(target, job, None, bootable=temporary)
    return Exported(answer["bytes"], answer["ram"])


def run(
    target: Target | None = None, job: Job | None = None, *, progress: Progress | None = None
) -> Outcome:
    """Build for ``target`` and run ``job`` (by default: the demo kernel) in the machine room.

    Returns the Outcome, passed or not; raises RelokitError for bad input and NativeCrashError
    when the engine itself goes down.
    """
    return Outcome.from_json(_ask(target or Target(), job or Job(), progress))


def _ask(
    target: Target, job: Job, progress: Progress | None, *, bootable: Path | None = None
) -> Any:
    """Have the machine room carry out ``job``; returns the JSON document it answers with."""
    from relokit.runtime.worker import Request

    room = worker()
    room.start()
    request = Request(
        target,
        build(target, templates=job.templates).image,
        build_demo(target, templates=job.templates),
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
