"""A way through a guest, leg by leg: the old kernel's last steps, the move, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Protocol

from relokit.codegen.facts import KEXEC_CONTROL_PAGE_SIZE
from relokit.codegen.target import Regime, Target
from relokit.runtime.arch.exceptions import PSTATE_DAIF, PSTATE_SPSEL
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.observing.operations import OperationCounter
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.kexec.address_space import cpu_pa_bits
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.old_kernel import CpuState
from relokit.runtime.record.known import Unknown, known
from relokit.runtime.record.record import JumpFacts, Leg, LegName, Limits
from relokit.runtime.record.scene import Scene
from relokit.runtime.record.stations import CpuFacts, Promise
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.run.cpu_facts import cpu_facts, entry_facts, platform_facts
from relokit.runtime.run.scenes import Guest, scene_of

Report = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

# The old kernel's last steps are some sixty instructions; the rest is slack for broken ones.
SHORT = Limits(100_000, 10.0)
OF_OTHERS = Limits(1 << 33, 300.0)
"""The same of a machine that was found: it prints, and its purgatory may hash what it hands on."""
RECORDED = 1 << 20
"""Instructions of a purgatory that are recorded. One that hashes takes some 800 million: there is
room for the records of less than half of them."""
LEAST_INSTRUCTIONS = 1 << 22
"""What any move may take."""
HEADROOM = 32
"""Times what the list needs; a copy byte by byte takes some twenty times as many instructions."""
NEVER_JUMPED = Unknown("the code that moves was never entered")
NEVER_REACHED = Unknown("the new kernel was never entered")


class Traveller(Guest, Protocol):
    """A guest that is ready to leave its kernel, in ``state``."""

    @property
    def state(self) -> CpuState:
        """The CPU at the start."""


def cpu_in_state(
    target: Target,
    model: str,
    memory: GuestMemory,
    state: CpuState,
) -> Cpu:
    """A CPU of ``model`` in ``state``, over ``memory``."""
    cpu = Cpu(
        model,
        memory,
        cache_line=target.cache_line,
        cpu_bits=target.cpu_bits,
        pa_bits=cpu_pa_bits(target, memory.end),
        has_el2=target.regime is not Regime.EL1,
    )
    for name, value in state.sysregs:
        cpu.write(name, value)
    cpu.set_el(state.el)
    cpu.set_pstate(cpu.pstate & ~PSTATE_DAIF if state.pstate is None else state.pstate)
    # Its bank is behind the stack pointer in use, where the CPU was at this level before.
    stack = dict(state.sysregs).get(f"SP_EL{cpu.el if cpu.pstate & PSTATE_SPSEL else 0}")
    if stack is not None:
        cpu.set_sp(stack)
    for number, value in enumerate(state.x):
        cpu.set_x(number, value)
    return cpu


class Journey:
    """``guest`` on its way, ``cpu`` in its state; each method is a leg, and goes where it can.

    ``jump`` is what the code that moves is promised, None if nothing is moved; ``promises`` are
    those of what is entered after it, in order.
    """

    def __init__(
        self, guest: Traveller, cpu: Cpu, jump: Promise | None, promises: tuple[Promise, ...]
    ) -> None:
        self._guest, self._cpu = guest, cpu
        self._jump = jump
        self._promises = promises
        self.legs: list[Leg] = []
        self.reached: list[CpuFacts] = []
        self.jump: JumpFacts | Unknown | None = NEVER_JUMPED if jump else None
        self.operations: dict[str, int] | None = None
        self.platform = platform_facts(cpu)
        self._begun: Stop | None = None

    @property
    def going(self) -> bool:
        """Whether every leg so far has reached its end."""
        return all(leg.stop.reason is StopReason.REACHED for leg in self.legs)

    def prelude(self, limits: Limits = SHORT) -> None:
        """From the guest's state to the jump; where nothing is moved, to what is entered."""
        first = self._jump or self._promises[0]
        stop = self._cpu.run(
            self._guest.state.pc,
            until=known(first.pc),
            max_instructions=limits.instructions,
            timeout_s=limits.seconds,
        )
        if self._jump is None:
            self._enter(LegName.PRELUDE, stop, limits)
            return
        self.legs.append(Leg(LegName.PRELUDE, stop, limits))
        if self.going:
            self.jump = JumpFacts(self._jump, cpu_facts(self._cpu))

    def move(
        self,
        destinations: Iterable[tuple[int, int]],
        job: Job,
        report: Report,
        watch: AbstractContextManager[object] | None = None,
    ) -> None:
        """From the jump to what is entered first; ``job`` has the limits.

        ``destinations`` are (PA, bytes). ``watch`` is entered for the move and no longer.
        """
        if self._jump is None:
            self.operations = {} if job.observe and self.going else None
        if self._jump is None or not self.going:
            return
        cpu = self._cpu
        # RAM is there before the machine is on; the host's first touch of a page is no part of it.
        total = 0
        for pa, size in destinations:
            cpu.memory.populate(pa, size)
            total += size
        # Eleven instructions move 64 bytes and four clean a line of them: close enough for a bar.
        expected = total // 64 * 15 + 1
        limits = _limits(job, expected)

        def progress(instructions: int) -> None:
            report("relocate", min(instructions, expected), expected)

        start = known(self._jump.pc)
        code = start & -KEXEC_CONTROL_PAGE_SIZE
        counter = OperationCounter(cpu, code, KEXEC_CONTROL_PAGE_SIZE) if job.observe else None
        with counter or nullcontext(), watch or nullcontext():
            stop = cpu.run(
                start,
                until=known(self._promises[0].pc),
                max_instructions=limits.instructions,
                timeout_s=limits.seconds,
                progress=progress,
            )
        if counter:
            self.operations = counter.counts()
        self._enter(LegName.MOVE, stop, limits)

    def onward(self, limits: Limits = SHORT, pause: int | None = None) -> None:
        """From each of what is entered to the next: a purgatory hands on to the kernel.

        It stops, for whoever records, in one that takes more than ``pause`` instructions: asked
        again it goes on from there, and what it does then counts as not recorded.
        """
        while self.going and len(self.reached) < len(self._promises):
            begun, self._begun = self._begun, None
            bound = limits.instructions if pause is None else min(pause, limits.instructions)
            stop = self._cpu.run(
                self._cpu.pc,
                until=known(self._promises[len(self.reached)].pc),
                max_instructions=bound,
                timeout_s=limits.seconds,
            )
            if bound < limits.instructions and stop.reason is StopReason.INSTRUCTION_LIMIT:
                self._begun = stop
                return
            self._enter(LegName.PURGATORY, stop, limits, begun)

    def scene(self) -> Scene | None:
        """Where the way ended, unless it has led to its end."""
        return None if self.going else scene_of(self._guest, self._cpu, self.legs[-1].stop)

    def _enter(self, name: LegName, stop: Stop, limits: Limits, begun: Stop | None = None) -> None:
        """The leg that has ended with ``stop``, and before that was ``begun``, if it was."""
        unrecorded = 0
        if begun is not None:
            unrecorded = stop.instructions
            stop = replace(
                stop,
                instructions=begun.instructions + stop.instructions,
                blocks=begun.blocks + stop.blocks,
                exceptions=begun.exceptions + stop.exceptions,
                seconds=begun.seconds + stop.seconds,
                event=stop.event or begun.event,
            )
        self.legs.append(Leg(name, stop, limits, unrecorded))
        if self.going:
            self.reached.append(entry_facts(self._cpu))


def _limits(job: Job, expected: int) -> Limits:
    """What a move may take that right code makes in some ``expected`` instructions."""
    if job.max_instructions is not None:
        return Limits(job.max_instructions, job.timeout, expected, asked=True)
    return Limits(max(LEAST_INSTRUCTIONS, HEADROOM * expected), job.timeout, expected)
