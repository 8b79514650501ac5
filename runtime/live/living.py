"""A shipped kernel on the board: booted, and run from station to station."""

from __future__ import annotations

from dataclasses import replace

from relokit.codegen import user_space
from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Regime
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.linker.kernel.opened import OpenedKernel
from relokit.runtime.arch.exceptions import DELIVER, ExceptionEvent
from relokit.runtime.arch.geometry import A72_PA_BITS, CPU_BITS
from relokit.runtime.board.board import Board
from relokit.runtime.board.screen import Screen
from relokit.runtime.engine.block_count import NEVER
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.found.living_state import LivingKernel, State
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.kexec.job import BOARD_SPEED
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.live_layout import LiveLayout
from relokit.runtime.record.record import Limits
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.run.cpu_facts import cpu_facts
from relokit.runtime.run.journey import Report
from relokit.runtime.run.storms import Storm

TICKS = 1000
ENTRY = 64
"""Instructions from the vectors for EL0 to those that the kernel has for itself (KPTI)."""
ENTRIES = 64
CACHE_LINE = 64
PANIC_ENDS = "---[ end K"
"""What a kernel prints when it has panicked, and waits for ever: kernel/panic.c."""
PANIC = "Kernel panic - not syncing: "


class Living:
    """``layout``'s first kernel, and what becomes of it; each method runs on, and says where to.

    Use as a context manager: it has guest RAM.
    """

    def __init__(
        self, job: LiveJob, layout: LiveLayout, kernel: KernelFile, report: Report
    ) -> None:
        self.job, self.layout = job, layout
        opened = OpenedKernel(kernel)
        self._symbols, self._kimage = opened.symbols, opened.layout
        self._file, self._report = kernel, report
        for name in ("machine_kexec", "vectors", "_etext"):
            if name not in self._symbols:
                raise MachineError(
                    f"this kernel has no {name}: it cannot kexec",
                    where=str(kernel.path),
                    hint="give one that is built with CONFIG_KEXEC",
                )
        self.memory = GuestMemory.of(layout.ram.banks)
        self.screen = Screen(PANIC_ENDS, lambda: self.cpu.stop(StopReason.PANICKED))
        self.instructions = 0
        self._left, self._seconds = 0, job.timeout
        self.limits = Limits(max(1, int(job.boot * BOARD_SPEED)), job.timeout)
        self.cpu = self._switched_on()

    def __enter__(self) -> Living:
        return self

    def __exit__(self, *error: object) -> None:
        self.memory.close()

    def _switched_on(self) -> Cpu:
        """By the boot protocol, with a console, an interrupt controller and firmware."""
        job, layout = self.job, self.layout
        for piece in layout.pieces:
            self.memory.write(piece.at, memoryview(piece.data))
        cpu = Cpu(
            layout.model,
            self.memory,
            cache_line=CACHE_LINE,
            cpu_bits=CPU_BITS,
            pa_bits=A72_PA_BITS,
            has_el2=job.regime is not Regime.EL1,
        )
        cpu.set_el(1 if job.regime is Regime.EL1 else 2)
        for number, value in enumerate((layout.tree, 0, 0, 0)):
            cpu.set_x(number, value)
        cpu.set_pc(layout.entry)
        self._board = Board(cpu, job.regime, self.screen, job.features)
        cpu.policy = DELIVER
        return cpu

    def give(self) -> None:
        """The kernel that runs from now on gets as much time as the first one had."""
        self._left = self.limits.instructions

    def run(self, until: int, *, user: bool = False, stage: str = "boot") -> Stop:
        """Run on to the PC ``until``; with ``user``, to the first exception from EL0."""
        storm, before = Storm(self.cpu), self.cpu.on_exception

        def told(event: ExceptionEvent) -> None:
            if before:
                before(event)
            if user and event.source_el == 0:
                self.cpu.stop(StopReason.REACHED)
            else:
                storm(event)

        def progress(instructions: int) -> None:
            total = self.limits.instructions
            done = total - self._left + instructions
            self._report(stage, min(done * TICKS // total, TICKS), TICKS)

        self.cpu.on_exception = told
        try:
            stop = self.cpu.run(
                self.cpu.pc,
                until=until,
                max_instructions=max(self._left, 1),
                timeout_s=max(self._seconds, 1e-3),
                progress=progress,
            )
        finally:
            self.cpu.on_exception = before
        self.count(stop)
        return self._told(stop)

    def _told(self, stop: Stop) -> Stop:
        """With the kernel's own words, if it has panicked."""
        if stop.reason is not StopReason.PANICKED:
            return stop
        _, found, behind = self.screen.text.partition(PANIC)
        return replace(stop, detail=behind.splitlines()[0]) if found and behind else stop

    def count(self, stop: Stop) -> None:
        """What of the machine's instructions and of this kernel's time is over."""
        self._board.flush()
        self.instructions += stop.instructions
        self._left -= stop.instructions
        self._seconds -= stop.seconds

    def to_user_space(self) -> Stop:
        """Run on to the first exception from EL0."""
        return self.run(NEVER, user=True)

    def kernel(self) -> LivingKernel:
        """The first kernel where it runs; asked right after it has come to user space.

        Its VA is told by VBAR, which has ``vectors`` once those for EL0 are left behind. Raises
        MachineError if it never does.
        """
        offset = self._symbols.offset("vectors")
        name = f"VBAR_EL{self.cpu.el}"
        for _ in range(ENTRIES):
            vectors = self.cpu.read(name)
            if self.cpu.walk(vectors).pa == self.layout.entry + offset:
                return LivingKernel(
                    self._file, self._symbols, self._kimage, self.layout.entry, vectors - offset
                )
            stop = self.cpu.run(
                self.cpu.pc,
                until=NEVER,
                max_instructions=ENTRY,
                timeout_s=self.limits.seconds,
            )
            self.count(stop)
        raise MachineError(f"{name} never has the vectors of this kernel", where=self._file.name)

    def state(self) -> State:
        """The CPU now, in the first kernel."""
        facts = cpu_facts(self.cpu)
        return State(
            memory=self.memory,
            regime=self.regime,
            model=self.layout.model,
            pc=facts.pc,
            x=facts.x,
            system=facts.system,
            cpu_bits=CPU_BITS,
            cache_line=CACHE_LINE,
        )

    @property
    def regime(self) -> Regime:
        """Where the kernel that runs has come to: it may not have what was asked for."""
        if self.cpu.el == 2:
            return Regime.VHE
        return Regime.EL1 if self.job.regime is Regime.EL1 else Regime.NVHE

    @property
    def refusal(self) -> str | None:
        """What /init says of a system call that was refused."""
        at = self.screen.text.find(f"relokit: {user_space.REFUSAL}")
        if at < 0:
            return None
        return " ".join(self.screen.text[at:].splitlines()[0].split())
