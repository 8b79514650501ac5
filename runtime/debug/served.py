"""A Machine, or the resume side of hibernation, as a debugger is served it."""

from __future__ import annotations

from collections.abc import Callable

from relokit.codegen.base.budget import budgeted
from relokit.codegen.target import Regime
from relokit.runtime.debug.debuggee import Debuggee
from relokit.runtime.debug.description import registers
from relokit.runtime.debug.gdb_line import serve
from relokit.runtime.debug.halts import Ready
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.show.at_moment import end_of, most_instructions


def ready(guest: Machine | Resume, job: Job) -> Ready:
    """``guest`` before its first step."""
    cpu = open_cpu(guest)
    cpu.set_pc(guest.state.pc)
    return Ready(guest, cpu, guest.jump, end_of(guest), most_instructions(guest, job))


def serve_guest(
    build: Callable[[], Machine | Resume], job: Job, port: int, listening: Callable[[int], None]
) -> tuple[int, str]:
    """See :func:`serve`; ``build`` makes the same guest each time it is asked."""
    made = [ready(build(), job)]
    regime = made[0].guest.target.regime
    all_of_them = registers(has_el2=regime is not Regime.EL1, has_vhe=regime is Regime.VHE)

    def again() -> Ready:
        # What is built anew takes the place of what was built before: it is not spent twice.
        with budgeted(anew=True):
            return made.pop() if made else ready(build(), job)

    return serve(
        lambda halts: Debuggee(again, all_of_them, seconds=job.timeout, interrupted=halts),
        port,
        listening,
    )
