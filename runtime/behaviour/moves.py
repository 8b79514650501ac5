"""Run relocation code in the whole kexec machine and observe it up to the new kernel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from relokit.codegen.base.bits import MASK64
from relokit.codegen.facts import KEXEC_CONTROL_PAGE_SIZE
from relokit.codegen.target import Target
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.behaviour.observation import (
    DIGEST_SIZE,
    Ending,
    Entered,
    Leaving,
    Observation,
    Written,
)
from relokit.runtime.behaviour.watch import Watch, general_registers
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.evidence.conclusion import before_the_move
from relokit.runtime.guest.ledger import Region
from relokit.runtime.judge.book import judge
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.opened_inputs import OpenedInputs
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.record.known import known
from relokit.runtime.record.record import LegName, Record
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.run.execute import execute
from relokit.runtime.run.journey import Report
from relokit.runtime.run.prepare import open_cpu, prepare_machine

TRIAL = "the kexec machine"
FREE = "free memory"
MAX_PARTS = 64
SCAN = 1 << 24
"""Bytes of free memory that are looked at in one go."""

_LEAVING = {
    StopReason.EXCEPTION: Leaving.FAULT,
    StopReason.BAD_VECTOR: Leaving.FAULT,
    StopReason.UNMAPPED: Leaving.FAULT,
    StopReason.SPIN: Leaving.ENDLESS,
    StopReason.INSTRUCTION_LIMIT: Leaving.ENDLESS,
    StopReason.TIMEOUT: Leaving.TIMEOUT,
    StopReason.HALTED: Leaving.WAIT,
}


def observe_relocation(
    target: Target,
    programs: Programs,
    job: Job,
    report: Report,
    relocation: bytes | None,
    opened: OpenedInputs | None = None,
) -> Observation:
    """Build the machine ``job`` describes, run it, and say what it did and left.

    ``relocation`` is code to run in place of the target's, ``opened`` are the job's files, if they
    are open already. Raises RelokitError for bad input;
    whatever the guest does is in the Observation.
    """
    # A Watch has its own way to see what is done, and only behaviour is asked for.
    job = replace(job, plain=True)
    machine = prepare_machine(target, programs, job, report, opened, relocation=relocation)
    try:
        cpu = open_cpu(machine)
        code = machine.kimage.control_page & -KEXEC_CONTROL_PAGE_SIZE
        watch = _Move(cpu, Watch(cpu, code, target.page_size))
        before = _digests(machine)
        record = execute(machine, cpu, job, report, watch)
        if not watch.seen:
            watch.look()
        return _observation(record, watch, tuple(_written(machine, before)))
    finally:
        machine.close()


class _Move:
    """A Watch over the move, and the CPU as the move left it: a purgatory may run on from there."""

    def __init__(self, cpu: Cpu, watch: Watch) -> None:
        self._cpu, self.watch = cpu, watch
        self.seen = False

    def __enter__(self) -> None:
        self.watch.__enter__()

    def __exit__(self, *caught: object) -> None:
        self.watch.__exit__(*caught)
        self.look()

    def look(self) -> None:
        """Keep the state of now."""
        self.seen = True
        self.el, self.pstate = self._cpu.el, self._cpu.pstate
        self.registers = general_registers(self._cpu)
        self.system = self.watch.system_state()


def _observation(record: Record, move: _Move, memory: tuple[Written, ...]) -> Observation:
    stop = record.leg(LegName.MOVE)
    at_jump = before_the_move(record)
    return Observation(
        trial=TRIAL,
        ending=_ending(record),
        counts=move.watch.counts(stop.instructions if stop else 0),
        el=move.el,
        mmu=bool(move.system[f"SCTLR_EL{max(move.el, 1)}"] & SCTLR_M),
        flags=move.pstate >> 28 & 0xF,
        daif=move.pstate >> 6 & 0xF,
        registers=move.registers,
        system=move.system,
        memory=memory,
        jump=Entered(at_jump.el, mmu=at_jump.mmu),
        findings=judge(record).findings,
    )


def _ending(record: Record) -> Ending:
    if record.reached:
        return Ending(Leaving.HAND_OVER, known(record.promises[0].pc))
    stop = record.legs[-1].stop
    leaving = _LEAVING.get(stop.reason, Leaving.ENGINE)
    return Ending(leaving, None, None if leaving is Leaving.ENDLESS else _detail(stop))


def _detail(stop: Stop) -> str:
    if stop.event is not None and stop.reason is StopReason.EXCEPTION:
        return stop.event.text
    if stop.access is not None:
        return f"{stop.access.kind} at PA {stop.access.pa:#x}: {stop.reason}"
    return stop.detail or str(stop.reason)


def _digests(machine: Machine) -> dict[int, str]:
    """Digest of every owned region by its base, but for destinations, which are there to change."""
    return {
        region.base: _digest(machine, region.base, region.size)
        for region in machine.allocator.regions
        if not region.owner.is_destination
    }


def _digest(machine: Machine, base: int, size: int) -> str:
    return hashlib.blake2b(
        machine.memory.view(base, size).data, digest_size=DIGEST_SIZE
    ).hexdigest()


def _written(machine: Machine, before: dict[int, str]) -> Iterator[Written]:
    """The destinations, and all else that has changed since ``before``."""
    names: dict[str, int] = {}
    for region in machine.allocator.regions:
        name = str(region.owner)
        if region.owner.is_destination:
            part, parts = _parts(machine, region)
            digest = _digest(machine, region.base, region.size)
            yield Written(name, region.base, region.size, digest, part, parts)
            continue
        digest = _digest(machine, region.base, region.size)
        if digest != before[region.base]:
            number = names[name] = names.get(name, 0) + 1
            owner = name if number == 1 else f"{name} ({number})"
            yield Written(owner, region.base, region.size, digest)
    yield from _strays(machine)


def _parts(machine: Machine, region: Region) -> tuple[int, tuple[str, ...]]:
    page = machine.target.page_size
    part = -(-region.size // page // MAX_PARTS) * page
    ends = range(region.base, region.end, part)
    return part, tuple(_digest(machine, at, min(part, region.end - at)) for at in ends)


def _strays(machine: Machine) -> Iterator[Written]:
    """What is there now in memory that nobody owns: it was zero at the jump."""
    page = machine.target.page_size
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    first, pages = 0, 0
    for base, end in _gaps(machine):
        for at in range(base, end, SCAN):
            chunk = machine.memory.view(at, min(SCAN, end - at))
            if not chunk.view(np.uint64).any():
                continue
            rows = chunk.reshape(-1, page)
            for number in np.flatnonzero(rows.any(axis=1)).tolist():
                first = first or at + number * page
                pages += 1
                digest.update((at + number * page & MASK64).to_bytes(8, "little"))
                digest.update(rows[number].data)
    if pages:
        yield Written(FREE, first, pages * page, digest.hexdigest())


def _gaps(machine: Machine) -> Iterator[tuple[int, int]]:
    """Whole pages between the regions of the ledger."""
    page = machine.target.page_size
    for base, end in machine.allocator.gaps():
        first = -(-base // page) * page
        if first < end:
            yield first, end
