"""Programs and machines to try things on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from relokit.building import build_programs, programs_for, sources_of
from relokit.codegen.target import Target
from relokit.linker.foreign.code import target_for
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.opened_inputs import OpenedInputs, open_inputs
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.run.prepare import prepare_machine
from relokit.runtime.run.verdict import run


@cache
def programs(target: Target) -> Programs:
    """Everything that is built for ``target``, once a process."""
    return build_programs(target)


def quiet(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


def linked(target: Target, job: Job) -> tuple[Target, Programs, OpenedInputs]:
    """``programs`` with the foreign code that ``job`` names, for the target that this is for."""
    opened = open_inputs(job)
    if opened.code is None:
        return target, programs(target), opened
    target = target_for(target, opened.code)
    built = programs_for(target, job, sources=sources_of(job, opened.code))
    return target, built.decoded(), opened.for_machine


def run_linked(target: Target, job: Job) -> Outcome:
    """Run ``job`` in this process, with the code that it names."""
    target, built, opened = linked(target, job)
    return run(target, built, job, quiet, opened)


@contextmanager
def prepared(target: Target, job: Job) -> Iterator[Machine]:
    """A machine right before machine_kexec."""
    target, built, opened = linked(target, job)
    machine = prepare_machine(target, built, job, quiet, opened)
    try:
        yield machine
    finally:
        machine.close()
