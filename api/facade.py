"""The verbs: what the commands do, for a script or a notebook."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from relokit.codegen.child import Child
from relokit.codegen.encoder import Encoder
from relokit.codegen.target import Target
from relokit.runtime.job import Job
from relokit.runtime.outcome import Outcome

if TYPE_CHECKING:
    from relokit.linker.program import Program

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

GRACE = 60.0
"""Seconds a worker gets beyond the guest's own time: building, copying, comparing."""


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


def run(
    target: Target | None = None, job: Job | None = None, *, progress: Progress | None = None
) -> Outcome:
    """Build for ``target`` and run ``job`` (by default: the demo kernel) in the machine room.

    Returns the Outcome, passed or not; raises RelokitError for bad input and NativeCrashError
    when the engine itself goes down.
    """
    from relokit.runtime.worker import Request

    target, job = target or Target(), job or Job()
    room = worker()
    room.start()
    request = Request(
        target,
        build(target, templates=job.templates).image,
        build_demo(target, templates=job.templates),
        job,
    )

    def report(message: bytes) -> None:
        if progress:
            stage, done, total = json.loads(message)
            progress(stage, done, total)

    answer = room.call(
        pickle.dumps(request), timeout=job.timeout + (job.boot or 0) + GRACE, progress=report
    )
    return Outcome.from_json(json.loads(answer))
