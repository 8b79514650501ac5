"""Programs and machines to try things on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from relokit.building import build_programs
from relokit.codegen.target import Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.run.prepare import prepare_machine


@cache
def programs(target: Target) -> Programs:
    """Everything that is built for ``target``, once a process."""
    return build_programs(target)


def quiet(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


@contextmanager
def prepared(target: Target, job: Job) -> Iterator[Machine]:
    """A machine right before machine_kexec."""
    machine = prepare_machine(target, programs(target), job, quiet)
    try:
        yield machine
    finally:
        machine.close()
