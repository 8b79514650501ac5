"""What the machine room is asked: one class a verb, each of which carries itself out there.

The parent pickles them (it trusts itself). Answers go back as documents and are checked when they
are read, so that nothing a guest could have got hold of is ever unpickled. Handlers import what
they need: the parent, which makes requests, runs no guest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from relokit.codegen.base.budget import budgeted
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Target
from relokit.runtime.judge.outcome import Brief, Outcome
from relokit.runtime.kexec.job import RAM_BASE, Job
from relokit.runtime.kexec.opened_inputs import OpenedInputs
from relokit.runtime.kexec.programs import Programs, StoredPrograms

if TYPE_CHECKING:
    from relokit.runtime.behaviour.flat_machine import Callee
    from relokit.runtime.behaviour.observation import Observation
    from relokit.runtime.timing.counts import MoveCounts

A_co = TypeVar("A_co", covariant=True)
Report = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


@dataclass(frozen=True, slots=True)
class RoomNews:
    """What a room says before it answers: one of these."""

    progress: tuple[str, int, int] | None = None
    handed_over: Outcome | None = None
    printed: str | None = None
    listening: int | None = None


class RoomVoice:
    """Says what it is told, by ``say``: progress (it is a Report), and what a new kernel does."""

    def __init__(self, say: Callable[[RoomNews], None]) -> None:
        self._say = say

    def __call__(self, stage: str, done: int, total: int) -> None:
        """See Report."""
        self._say(RoomNews(progress=(stage, done, total)))

    def handed_over(self, outcome: Outcome) -> None:
        """See BootWatcher."""
        self._say(RoomNews(handed_over=outcome))

    def printed(self, text: str) -> None:
        """See BootWatcher."""
        self._say(RoomNews(printed=text))

    def listening(self, port: int) -> None:
        """A debugger may connect to ``port``."""
        self._say(RoomNews(listening=port))


class Request(Protocol[A_co]):
    """Something the room does, answered with an ``A``."""

    def carry_out(self, report: Report) -> A_co:
        """Do it, in the room; raises RelokitError for bad input."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a machine is made of: what was built, for which target, the job and its opened files.

    Many jobs share ``programs``, and decoding them costs as much as a small run.
    """

    target: Target
    programs: StoredPrograms
    job: Job
    opened: OpenedInputs


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Run the machine and judge it; a trace goes to ``trace``, if that is given.

    Somebody who is ``watching`` is told at once what the new kernel prints.
    """

    setup: Setup
    trace: Path | None = None
    watching: bool = False

    def carry_out(self, report: Report) -> Outcome:
        """See Request."""
        from relokit.runtime.run.verdict import run

        setup = self.setup
        programs = _decoded(setup.programs)
        watcher = report if self.watching and isinstance(report, RoomVoice) else None
        return run(setup.target, programs, setup.job, report, setup.opened, self.trace, watcher)


@dataclass(frozen=True, slots=True)
class CellAnswer:
    """The verdict on a cell, and the seconds that its run and the judgement took."""

    brief: Brief
    seconds: float


@dataclass(frozen=True, slots=True)
class CellsRequest:
    """Run the machine of ``setup`` for each of ``jobs`` in place of its own, and judge it.

    Of each only the verdict is asked for: to write all that was measured, and to read it, would
    take a tenth of a small run, and to carry one request another. An error of one job is the
    request's.
    """

    setup: Setup
    jobs: tuple[Job, ...]

    def carry_out(self, report: Report) -> tuple[CellAnswer, ...]:
        """See Request."""
        return tuple(self._answer(job, report) for job in self.jobs)

    def _answer(self, job: Job, report: Report) -> CellAnswer:
        started = perf_counter()
        with budgeted(anew=True):  # nothing of it stays but the answer
            brief = RunRequest(replace(self.setup, job=job)).carry_out(report).brief
        return CellAnswer(brief, round(perf_counter() - started, 6))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it goes to a room. Each word of its progress wakes up whoever waits for it."""

    request: Request[Any]
    with_progress: bool


def shared_by(request: Request[object]) -> StoredPrograms | None:
    """What ``request`` has in common with many: a room keeps it until it is asked with another."""
    setup: Setup | None = getattr(request, "setup", None)
    return None if setup is None else setup.programs


@dataclass(frozen=True, slots=True)
class BootableFile:
    """The size of a written ELF and of the RAM it expects, in bytes.

    ``virt``: that is RAM as QEMU's board has it, one bank from where its own begins.
    """

    bytes: int
    ram: int
    virt: bool


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Run nothing: write the machine as an ELF to ``path``."""

    setup: Setup
    path: Path

    def carry_out(self, report: Report) -> BootableFile:
        """See Request."""
        from relokit.codegen.gas.instructions.encoder import Encoder
        from relokit.linker.elf.elf_writer import exec_chunks
        from relokit.runtime.run.prepare import prepare_machine
        from relokit.runtime.state.bootable import bootable_image

        setup = self.setup
        programs = _decoded(setup.programs)
        machine = prepare_machine(setup.target, programs, setup.job, report, setup.opened)
        try:
            with self.path.open("wb") as file:
                for chunk in exec_chunks(bootable_image(machine, Encoder())):
                    file.write(chunk)
                memory = machine.memory
                virt = len(memory.banks) == 1 and memory.base == RAM_BASE
                return BootableFile(file.tell(), memory.available, virt)
        except OSError as error:
            raise RelokitError(
                f"cannot be written: {error.strerror or error}",
                where=str(self.path.parent),
                hint="check that there is room; a bootable ELF has the payload in it",
            ) from None
        finally:
            machine.close()


@dataclass(frozen=True, slots=True)
class ObserveRequest:
    """Watch the relocation; ``relocation``, if there is some, is code that runs as such."""

    setup: Setup
    relocation: bytes | None = None

    def carry_out(self, report: Report) -> Observation:
        """See Request."""
        from relokit.runtime.behaviour.moves import observe_relocation

        setup = self.setup
        programs = _decoded(setup.programs)
        return observe_relocation(
            setup.target, programs, setup.job, report, self.relocation, setup.opened
        )


@dataclass(frozen=True, slots=True)
class CountRequest:
    """Run the machine and count what it does."""

    setup: Setup

    def carry_out(self, report: Report) -> MoveCounts:
        """See Request."""
        from relokit.runtime.run.count_move import count_move

        setup = self.setup
        return count_move(setup.target, _decoded(setup.programs), setup.job, report, setup.opened)


@dataclass(frozen=True, slots=True)
class CallRequest:
    """Call one routine in a flat machine, once for each trial."""

    callee: Callee

    def carry_out(self, report: Report) -> tuple[Observation, ...]:
        """See Request."""
        from relokit.runtime.behaviour.calls import observe_calls

        return observe_calls(self.callee)


@lru_cache(maxsize=1)
def _decoded(programs: StoredPrograms) -> Programs:
    return programs.decoded()
