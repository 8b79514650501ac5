"""A Machine brought to a moment: run as far as that, and no further."""

from __future__ import annotations

from relokit.codegen.base.errors import MachineError
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import total_pages
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.stop import StopReason
from relokit.runtime.run.journey import HEADROOM, LEAST_INSTRUCTIONS, OF_OTHERS, SHORT
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.show.shown.question import Moment


def cpu_at(machine: Machine | Resume, moment: Moment, job: Job) -> Cpu:
    """A CPU in ``machine`` at ``moment``; raises MachineError if that never comes."""
    cpu = open_cpu(machine)
    if moment is Moment.START:
        cpu.set_pc(machine.state.pc)
        return cpu
    until = end_of(machine) if moment is Moment.KERNEL else machine.jump
    if until is None:
        raise MachineError(
            "nothing is moved on this path: no code that moves is entered",
            hint=f"choose --at {Moment.START} or {Moment.KERNEL}",
        )
    stop = cpu.run(
        machine.state.pc,
        until=until,
        max_instructions=most_instructions(machine, job),
        timeout_s=job.timeout,
    )
    if stop.reason is not StopReason.REACHED:
        raise MachineError(
            f"the machine never comes to where {moment.told[3:]}: {stop.reason} at {stop.pc:#x}",
            hint="'relokit run' says why",
        )
    return cpu


def end_of(machine: Machine | Resume) -> int:
    """Where the new kernel is entered, or the resumed one goes on."""
    return machine.entry if isinstance(machine, Resume) else machine.stages[-1].pc


def most_instructions(machine: Machine | Resume, job: Job) -> int:
    """What the way to the new kernel may take."""
    if job.max_instructions is not None:
        return job.max_instructions
    if isinstance(machine, Resume):
        short = SHORT
        size = sum(end - begin for begin, end in machine.filled) // machine.target.page_size
    else:
        short = SHORT if machine.found is None else OF_OTHERS
        size = total_pages(machine.kimage.segments, machine.target.page_size)
    words = size * machine.target.page_size // 64 * 15
    return short.instructions + max(LEAST_INSTRUCTIONS, HEADROOM * words)
