"""A Session: machine rooms, and the verbs that are carried out there.

>>> from relokit import Session, Target
>>> with Session() as session:
...     session.run(Target(regime="el1")).passed
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from functools import lru_cache
from pathlib import Path
from queue import LifoQueue
from typing import TYPE_CHECKING, ClassVar, TypeVar

from relokit.arguments import job_or_default, path_or_none, target_or_default
from relokit.building import encoder, programs_for, sources_of
from relokit.codegen.base.budget import spend
from relokit.codegen.base.child import Child
from relokit.codegen.base.coercion import argument
from relokit.codegen.base.documents import ABSENT, Table, from_json, shown
from relokit.codegen.base.errors import MachineError, NativeCrashError
from relokit.codegen.base.host_file import check_unchanged, reading
from relokit.codegen.base.host_file import pack as pack_with_files
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Target
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.opened_inputs import open_inputs
from relokit.runtime.room.requests import (
    Asked,
    BootableFile,
    CallRequest,
    CountRequest,
    ExportRequest,
    ObserveRequest,
    Request,
    RoomNews,
    RunRequest,
    Setup,
    shared_by,
)

if TYPE_CHECKING:
    from relokit.linker.foreign.code import ForeignCode
    from relokit.linker.kernel.opened import Files
    from relokit.runtime.behaviour.flat_machine import Callee
    from relokit.runtime.behaviour.observation import Observation
    from relokit.runtime.kexec.programs import StoredPrograms
    from relokit.runtime.run.console import BootWatcher
    from relokit.runtime.timing.counts import MoveCounts

A = TypeVar("A")
Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


ROOM = "relokit.runtime.room.machine_room"
GRACE = 60.0
"""Seconds a room gets beyond the guest's own time: building, copying, comparing."""
MAX_ANSWER = 1 << 28
ANSWER_BYTES = 8
"""What a byte of an answer becomes, as objects."""
MAX_ROOMS = 256


@dataclass(frozen=True, slots=True)
class Exported:
    """A written ELF: its size, and the RAM a bootable one expects, in bytes.

    ``target`` is the name of what it is for. ``virt``: a bootable one's RAM is as QEMU's board
    has it.
    """

    SCHEMA: ClassVar[str] = "relokit.export/1"
    DOCUMENT: ClassVar[Table] = {"file": "file", "bytes": "size", **shown("target", "ram", "virt")}

    file: Path
    size: int
    target: str
    ram: int | None = field(default=None, metadata=ABSENT)
    virt: bool | None = field(default=None, metadata=ABSENT)


class Session:
    """``rooms`` processes in which guests run, each started when it is first needed.

    Any thread may call any verb; as many are carried out at a time as there are rooms. A guest that
    takes its room down raises NativeCrashError, and nothing else is lost: the next one gets a fresh
    process. Use as a context manager, or leave closing to the interpreter's exit.
    """

    def __init__(self, rooms: int = 1) -> None:
        if not 1 <= rooms <= MAX_ROOMS:
            raise MachineError(f"{rooms} machine rooms", hint=f"1 to {MAX_ROOMS} are possible")
        self._rooms = tuple(
            Child(ROOM, library="the machine (Unicorn)", max_response=MAX_ANSWER)
            for _ in range(rooms)
        )
        # The last one used is the next: a room that was never needed is never started.
        self._idle: LifoQueue[Child] = LifoQueue()
        for room in reversed(self._rooms):
            self._idle.put(room)
        self._kept: dict[Child, tuple[int, StoredPrograms | None]] = {}
        """What a room keeps, and which of the processes started for it does."""
        self._aborted = False

    def __enter__(self) -> Session:
        return self

    def __repr__(self) -> str:
        count = len(self._rooms)
        what = "busy" if self.busy else "idle"
        return f"<Session of {count} machine room{'s' * (count != 1)}, {what}>"

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self, rooms: int = 1) -> None:
        """Have so many rooms import what they need while this process does something else."""
        for room in self._rooms[:rooms]:
            room.start()

    def close(self) -> None:
        """End every room, waiting for what is being carried out; a later verb starts a new one."""
        for room in self._rooms:
            room.close()

    @property
    def busy(self) -> bool:
        """Whether anything is being carried out."""
        return self._idle.qsize() < len(self._rooms)

    def abort(self) -> None:
        """Kill every room, from any thread: what is being carried out, and all that is asked from
        now on, raises NativeCrashError.
        """
        self._aborted = True
        for room in self._rooms:
            room.abort()

    def run(
        self,
        target: Target | None = None,
        job: Job | None = None,
        *,
        files: Files | None = None,
        trace: Path | None = None,
        progress: Progress | None = None,
        watcher: BootWatcher | None = None,
    ) -> Outcome:
        """Build for ``target``, run ``job`` (by default: the demo kernel), and judge it.

        ``files`` has what is open already. What the CPU does up to the new kernel is recorded into
        the file ``trace``, if there is one to be: whole, or not at all. ``watcher`` is told
        what a new kernel prints while it runs on. Returns the Outcome, passed
        or not; raises RelokitError for bad input and NativeCrashError when the engine itself goes
        down.
        """
        trace, job = path_or_none("trace", trace), job_or_default(job)
        if trace is not None and job.plain:
            raise MachineError("a plain run has no trace", hint="leave --plain or --trace out")
        if job.profile is not None:
            from relokit.runtime.judge.rules.profile import profile_named

            profile_named(job.profile)
        setup = self.setup(target, job, files)
        seconds = seconds_of(setup.job)
        watching = watcher is not None
        if trace is None:
            request = RunRequest(setup, watching=watching)
            return self.ask(request, Outcome, seconds, progress, watcher)
        from relokit.codegen.base.atomic import replacing

        with replacing(trace) as temporary:
            request = RunRequest(setup, temporary, watching)
            return self.ask(request, Outcome, seconds, progress, watcher)

    def export(
        self,
        path: Path,
        target: Target | None = None,
        job: Job | None = None,
        *,
        files: Files | None = None,
        progress: Progress | None = None,
    ) -> Exported:
        """Write the machine that :meth:`run` would run as a bootable ELF: whole, or not at all."""
        from relokit.codegen.base.atomic import replacing

        setup = self.setup(target, job, files)
        path = argument("path", path, Path)
        with replacing(path) as temporary:
            request = ExportRequest(setup, temporary)
            done = self.ask(request, BootableFile, seconds_of(setup.job), progress)
        return Exported(path, done.bytes, setup.target.name, done.ram, done.virt)

    def observe(
        self,
        target: Target | None = None,
        job: Job | None = None,
        *,
        files: Files | None = None,
        code: ForeignCode | None = None,
        relocation: bytes | None = None,
        progress: Progress | None = None,
    ) -> Observation:
        """Run ``job`` up to the new kernel, and say what the relocation did and left.

        ``code`` runs in place of ours, if the job names none;
        ``relocation`` is machine code that runs as the relocation, entered at its first byte.
        """
        from relokit.runtime.behaviour.observation import Observation

        setup = self.setup(target, job, files, code)
        request = ObserveRequest(setup, relocation)
        return self.ask(request, Observation, seconds_of(setup.job), progress)

    def count(
        self,
        target: Target | None = None,
        job: Job | None = None,
        *,
        files: Files | None = None,
        progress: Progress | None = None,
    ) -> MoveCounts:
        """Run ``job`` up to the new kernel, and count what the CPU does, phase by phase.

        Raises MachineError for what cannot be counted: a plain run, or one that does not arrive.
        """
        from relokit.runtime.timing.counts import MoveCounts

        setup = self.setup(target, job, files)
        return self.ask(CountRequest(setup), MoveCounts, seconds_of(setup.job), progress)

    def call(self, callee: Callee) -> tuple[Observation, ...]:
        """Call a routine in a small flat machine, once for each trial."""
        from relokit.runtime.behaviour.flat_machine import CALL_SECONDS
        from relokit.runtime.behaviour.observation import Observation

        return self.ask(CallRequest(callee), tuple[Observation, ...], CALL_SECONDS)

    @reading()
    def ask(
        self,
        request: Request[A],
        answer: type[A],
        seconds: float,
        progress: Progress | None = None,
        watcher: BootWatcher | None = None,
        listening: Callable[[int], None] | None = None,
    ) -> A:
        """Have the next idle room carry out ``request``, which the guest has ``seconds`` for.

        ``answer`` is what it answers with. Raises RelokitError as the verbs do.
        """
        room = self._idle.get()
        try:
            if self._aborted:
                raise NativeCrashError("stopped")
            room.start()
            # What it answered last, it was given: it need not be given that again.
            started, kept = self._kept.pop(room, (0, None))
            kept = kept if started == room.started else None
            packed, files = pack_with_files(Asked(request, progress is not None), kept)
            told = progress or watcher or listening
            report = _reporting(progress, watcher, listening) if told else None
            answered = room.call(
                packed,
                timeout=seconds + GRACE,
                progress=report,
                descriptors=[file.descriptor for file in files],
                # A debugger stays as long as it likes.
                watch=check_unchanged if listening else None,
            )
            self._kept[room] = room.started, shared_by(request)
        finally:
            self._idle.put(room)
        spend(ANSWER_BYTES * len(answered), "answers of machine rooms")
        return from_json(answer, answered)

    def setup(
        self,
        target: Target | None,
        job: Job | None,
        files: Files | None,
        code: ForeignCode | None = None,
    ) -> Setup:
        """What a machine for ``job`` is made of: its files are opened, its programs built."""
        target, job = target_or_default(target), job_or_default(job)
        self.start()
        opened = open_inputs(job, files, encoder)
        if code is not None:
            opened = replace(opened, code=code)
        if opened.code is not None:
            from relokit.linker.foreign.code import target_for
            from relokit.runtime.kexec.running import check_code_runs

            target = target_for(target, opened.code)
            check_code_runs(target, job.path, opened.code)
        programs = programs_for(target, job, sources=sources_of(job, opened.code))
        return Setup(target, programs, job, opened.for_machine)


def seconds_of(job: Job) -> float:
    """What the guest of ``job`` may take at most."""
    return 2 * job.timeout + job.boot if job.boot else job.timeout


def _reporting(
    progress: Progress | None,
    watcher: BootWatcher | None,
    listening: Callable[[int], None] | None,
) -> Callable[[bytes], None]:
    def report(text: bytes) -> None:
        news = from_json(RoomNews, text)
        if progress and news.progress:
            progress(*news.progress)
        if watcher and news.handed_over:
            watcher.handed_over(news.handed_over)
        if watcher and news.printed:
            watcher.printed(news.printed)
        if listening and news.listening:
            listening(news.listening)

    return report


@lru_cache(maxsize=1)
def process_session() -> Session:
    """The one that the verbs of ``relokit`` share, with a single room."""
    return Session()
