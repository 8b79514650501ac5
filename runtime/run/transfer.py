"""Run a prepared guest: the old kernel's last steps, the jump, and the move itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from relokit.codegen.facts import KEXEC_CONTROL_PAGE_SIZE
from relokit.codegen.target import Target
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.operations import OperationCounter
from relokit.runtime.engine.stop import Stop, StopReason
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.judge.outcome import RelocationRun
from relokit.runtime.kexec.address_space import cpu_pa_bits
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.old_kernel import CpuState

Report = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

# The old kernel's last steps are some sixty instructions; the rest is slack for broken ones.
PRELUDE_INSTRUCTIONS = 100_000
PRELUDE_SECONDS = 10.0
DEFAULT_LINE = 64


@dataclass(frozen=True, slots=True)
class Move:
    """How far the guest got: the state at the jump, and how the run ended.

    ``operations`` counts maintenance instructions by name; None if the job does not observe.
    """

    jumped: bool
    el: int
    sctlr: int
    stop: Stop
    operations: dict[str, int] | None = None

    @property
    def arrived(self) -> bool:
        """Whether what follows the move was entered."""
        return self.jumped and self.stop.reason is StopReason.REACHED

    def relocation(self, pages: int, page_size: int) -> RelocationRun:
        """The move in figures, ``pages`` being what it had to copy."""
        return RelocationRun(
            bytes=pages * page_size,
            pages=pages,
            el=self.el,
            mmu=bool(self.sctlr & SCTLR_M),
            sctlr=self.sctlr,
            instructions=self.stop.instructions if self.jumped else 0,
            seconds=self.stop.seconds if self.jumped else 0.0,
        )


def cpu_in_state(
    target: Target,
    model: str,
    memory: GuestMemory,
    state: CpuState,
) -> Cpu:
    """A CPU of ``model`` in ``state``, over ``memory``."""
    line = None if target.cache_line == DEFAULT_LINE else target.cache_line
    cpu = Cpu(
        model,
        memory,
        cache_line=line,
        cpu_bits=target.cpu_bits,
        pa_bits=cpu_pa_bits(target, memory.end),
    )
    for name, value in state.sysregs:
        cpu.write(name, value)
    cpu.set_el(state.el)
    for number, value in enumerate(state.x):
        cpu.set_x(number, value)
    return cpu


def transfer(
    cpu: Cpu,
    entry: int,
    jump: int | None,
    end: int,
    destinations: Iterable[tuple[int, int]],
    job: Job,
    report: Report,
    watch: AbstractContextManager[object] | None = None,
) -> Move:
    """Run from ``entry`` to ``jump`` (the code that moves), then to ``end``; all are PC values.

    ``jump`` None means nothing is moved. ``destinations`` are (PA, bytes). The limits of
    ``job`` bound the move. ``watch`` is entered for the move and no longer.
    """
    prelude = cpu.run(
        entry,
        until=end if jump is None else jump,
        max_instructions=PRELUDE_INSTRUCTIONS,
        timeout_s=PRELUDE_SECONDS,
    )
    el, sctlr = cpu.el, cpu.read(f"SCTLR_EL{max(cpu.el, 1)}")
    if prelude.reason is not StopReason.REACHED:
        return Move(False, el, sctlr, prelude)
    if jump is None:
        nothing: dict[str, int] | None = {} if job.observe else None
        return Move(True, el, sctlr, replace(prelude, instructions=0, seconds=0.0), nothing)
    # RAM is there before the machine is on; the host's first touch of a page is no part of it.
    total = 0
    for pa, size in destinations:
        cpu.memory.populate(pa, size)
        total += size
    # Eleven instructions move 64 bytes and four clean a line of them: close enough for a bar.
    expected = total // 64 * 15 + 1

    def progress(instructions: int) -> None:
        report("relocate", min(instructions, expected), expected)

    code = jump & -KEXEC_CONTROL_PAGE_SIZE
    counter = OperationCounter(cpu, code, KEXEC_CONTROL_PAGE_SIZE) if job.observe else None
    with counter or nullcontext(), watch or nullcontext():
        stop = cpu.run(
            jump,
            until=end,
            max_instructions=job.max_instructions,
            timeout_s=job.timeout,
            progress=progress,
        )
    return Move(True, el, sctlr, stop, counter.counts() if counter else None)
