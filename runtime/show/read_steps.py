"""Machine to StepsShown: instructions, with the registers that change."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import decode_system
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.observing.stepper import Before, Stepper
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.run.scenes import place_of
from relokit.runtime.show.at_moment import end_of, most_instructions
from relokit.runtime.show.shown.question import Question
from relokit.runtime.show.shown.steps_shown import Step, StepsShown, steps_asked

_AHEAD = 1 << 11
"""Instructions before the first step from which all are looked at: a block has half of that."""
_ZERO = 31


def steps_shown(machine: Machine | Resume, question: Question, job: Job) -> StepsShown:
    """The steps that ``question`` asks for; raises MachineError for more than MOST of them."""
    first, most = question.first, steps_asked(question)
    cpu = open_cpu(machine)
    until = end_of(machine)
    pc, left = machine.state.pc, most_instructions(machine, job)
    stop: Stop | None = None
    if first > _AHEAD:
        stop = cpu.run(pc, until=until, max_instructions=first - _AHEAD, timeout_s=job.timeout)
        pc = stop.pc
    place = question.until
    ends = None if place is None else partial(_is_at, machine, place)
    with Stepper(cpu, first, most + 1, ends) as stepper:
        if stop is None or stop.reason is StopReason.INSTRUCTION_LIMIT:
            begun = stop.instructions if stop else 0
            wanted = min(first + most + 1 - begun, left)
            stop = cpu.run(pc, until=until, max_instructions=wanted, timeout_s=job.timeout)
    seen = stepper.seen
    over = stop.reason is not StopReason.INSTRUCTION_LIMIT and not stepper.ended
    if over and len(seen) <= most:
        seen = [*seen, _end(cpu)]
    steps = tuple(_steps(machine, seen))
    why = _why(machine, stop, len(steps) == most)
    if not steps:
        raise MachineError(
            f"there is no instruction number {first:,}: {why}", hint="give a lower --from"
        )
    ended = f"{_told(place)} comes next" if stepper.ended else why
    if place is not None and not stepper.ended:
        ended += f"; {_told(place)} was not reached"
    return StepsShown(machine.target.name, first, steps, ended)


def _why(machine: Machine | Resume, stop: Stop, full: bool) -> str:
    if full or stop.reason is StopReason.INSTRUCTION_LIMIT:
        return "as many as were asked for"
    if stop.reason is StopReason.REACHED:
        resumed = isinstance(machine, Resume)
        return "the resumed kernel goes on" if resumed else "the new kernel is entered"
    detail = f": {stop.detail}" if stop.detail else f": {stop.event.text}" if stop.event else ""
    return f"{stop.reason} at {stop.pc:#x}{detail}"


def _end(cpu: Cpu) -> Before:
    return Before(-1, cpu.pc, None, cpu.registers, cpu.sp, cpu.pstate)


def _steps(machine: Machine | Resume, seen: list[Before]) -> Iterator[Step]:
    for one, after in pairwise(seen):
        text = "(unreadable)" if one.word is None else disassemble(one.word, one.pc)
        yield Step(
            number=one.number,
            pc=one.pc,
            el=one.pstate >> 2 & 3,
            text=text,
            changed=_changed(one, after),
            place=place_of(machine, one.pc),
        )


def _changed(before: Before, after: Before) -> dict[str, int]:
    """Registers with another value, the system register of an MSR among them."""
    pairs = enumerate(zip(before.x, after.x, strict=True))
    found = {f"x{number}": new for number, (old, new) in pairs if old != new}
    if before.sp != after.sp:
        found["sp"] = after.sp
    if before.pstate != after.pstate:
        found["pstate"] = after.pstate
    system = None if before.word is None else decode_system(before.word)
    if system is not None and system.form == "msr":
        found[system.name] = 0 if system.rt == _ZERO else before.x[system.rt]
    return found


def _told(place: int | str | None) -> str:
    return f"{place:#x}" if isinstance(place, int) else str(place)


def _is_at(machine: Machine | Resume, place: int | str, pc: int) -> bool:
    if isinstance(place, int):
        return pc == place
    located = machine.locate(pc)
    return located is not None and located[0].symbol_at(located[1]) == (place, 0)
