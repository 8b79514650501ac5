"""Run relocation code in the whole kexec machine and observe it up to the new kernel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

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
from relokit.runtime.engine.stop import Stop, StopReason
from relokit.runtime.guest.ledger import Region
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.run.transfer import Move, Report
from relokit.runtime.run.verdict import conclude, open_cpu, prepare_machine, relocate

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
    StopReason.TIMEOUT: Leaving.ENDLESS,
    StopReason.HALTED: Leaving.WAIT,
}


def observe_relocation(
    target: Target, programs: Programs, job: Job, report: Report, relocation: bytes | None
) -> Observation:
    """Build the machine ``job`` describes, run it, and say what it did and left.

    ``relocation`` is code to run in place of the target's. Raises RelokitError for bad input;
    whatever the guest does is in the Observation.
    """
    machine = prepare_machine(target, programs, job, report, relocation=relocation)
    try:
        cpu = open_cpu(machine)
        code = machine.kimage.control_page & -KEXEC_CONTROL_PAGE_SIZE
        watch = Watch(cpu, code, target.page_size)
        before = _digests(machine)
        move = relocate(machine, cpu, job, report, watch)
        seen = _Seen(machine, cpu, move, watch)
        outcome = conclude(machine, cpu, move, job, report)
        return seen.observation(outcome, tuple(_written(machine, before)))
    finally:
        machine.close()


class _Seen:
    """The CPU as the move left it: judging may run on from there."""

    def __init__(self, machine: Machine, cpu: Cpu, move: Move, watch: Watch) -> None:
        self._machine, self._move, self._watch = machine, move, watch
        self._el, self._pstate = cpu.el, cpu.pstate
        self._registers = general_registers(cpu)
        self._system = watch.system_state()

    def observation(self, outcome: Outcome, memory: tuple[Written, ...]) -> Observation:
        move = self._move
        sctlr = self._system[f"SCTLR_EL{max(self._el, 1)}"]
        return Observation(
            trial=TRIAL,
            ending=_ending(self._machine, move),
            counts=self._watch.counts(move.stop.instructions if move.jumped else 0),
            el=self._el,
            mmu=bool(sctlr & SCTLR_M),
            flags=self._pstate >> 28 & 0xF,
            daif=self._pstate >> 6 & 0xF,
            registers=self._registers,
            system=self._system,
            memory=memory,
            jump=Entered(move.el, mmu=bool(move.sctlr & SCTLR_M)),
            findings=outcome.findings,
        )


def _ending(machine: Machine, move: Move) -> Ending:
    stop = move.stop
    if move.arrived:
        return Ending(Leaving.HAND_OVER, machine.start)
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
    page, at = machine.target.page_size, machine.memory.base
    for region in machine.allocator.regions:
        if region.base > at:
            yield at, region.base
        at = -(-region.end // page) * page
    if at < machine.memory.end:
        yield at, machine.memory.end
