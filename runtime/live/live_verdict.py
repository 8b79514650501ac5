"""LiveJob to LiveOutcome: both kernels run, station after station, and the hand-over is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from relokit.runtime.engine.block_count import NEVER
from relokit.runtime.engine.observing.operations import OperationCounter
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.evidence.conclusion import conclude
from relokit.runtime.evidence.evidence import Evidence, Subject
from relokit.runtime.found.found_machine import NO_HISTORY, HandedIn, found_machine
from relokit.runtime.found.living_state import LivingKernel
from relokit.runtime.found.loaded_image import LoadedImage, read_kimage
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.outcome import JudgedTarget, Outcome, Status
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import total_pages
from relokit.runtime.kexec.machine import History, Machine
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.live_layout import LiveInputs, LivePiece, lay_out
from relokit.runtime.live.live_outcome import LiveOutcome, LoadWindow
from relokit.runtime.live.live_stations import Station, StationName
from relokit.runtime.live.living import Living
from relokit.runtime.live.load_history import TO_MEMORY, load_history
from relokit.runtime.live.page_digests import PageDigests
from relokit.runtime.record.prehistory import Range
from relokit.runtime.record.record import BootFacts, Record
from relokit.runtime.record.stop import NO_ANSWERS, Stop, StopReason
from relokit.runtime.run.console import BY_ITSELF, scene_of_kernel
from relokit.runtime.run.execute import execute
from relokit.runtime.run.journey import Report

POST_LOAD = "machine_kexec_post_load"
CLEANED_LATER = (
    "this kernel cleans a crash kernel behind machine_kexec_post_load, in "
    "arch_kexec_protect_crashkres, which is not recorded"
)
BANNER = "Linux version "
SILENT = "it has come to user space without one; earlycon makes it print, quiet keeps it from that"
IDMAP_TEXT = "__idmap_text_start", "__idmap_text_end"
UNKNOWN = {
    "firmware": "what it had set up: registers are as the first kernel has them",
    "other CPUs": "where they would be: the board has one",
}
"""What of a machine that was found nobody knows, and why."""


Spoil = Callable[[GuestMemory, LoadedImage], None]


def run_live(
    job: LiveJob,
    inputs: LiveInputs,
    report: Report,
    trace: Path | None = None,
    spoil: Spoil | None = None,
) -> LiveOutcome:
    """Boot, kexec, judge, and let the next kernel run on to power-off.

    What the CPU does from machine_kexec to the next kernel is written to the file ``trace``, if
    there is one to be. ``spoil`` may change RAM when machine_kexec is called. Raises RelokitError
    for bad input; whatever the guests do is in the outcome.
    """
    with Living(job, lay_out(job, inputs), inputs.kernel, report) as living:
        return _Voyage(job, inputs, living, report, trace, spoil).go()


class _Voyage:
    """One run, and what has been seen of it so far."""

    def __init__(
        self,
        job: LiveJob,
        inputs: LiveInputs,
        living: Living,
        report: Report,
        trace: Path | None,
        spoil: Spoil | None,
    ) -> None:
        self._job, self._inputs, self._living = job, inputs, living
        self._report, self._trace, self._spoil = report, trace, spoil
        self._stations: list[Station] = []
        self._load: LoadWindow | None = None
        self._handover: Outcome | None = None
        self._history: History | str = NO_HISTORY
        self._last: Stop | None = None
        self._first_console: str | None = None
        self._undefined: dict[str, int] | None = None

    def go(self) -> LiveOutcome:
        living = self._living
        living.give()
        if self._passed(StationName.USER_SPACE, living.to_user_space()):
            kernel = living.kernel()
            loaded, digests = self._loaded(kernel)
            if loaded is not None or POST_LOAD not in kernel.symbols:
                stop = living.run(kernel.address("machine_kexec"))
                if self._passed(StationName.LEFT, stop):
                    self._hand_over(kernel, loaded, digests)
        return self._outcome()

    def _passed(self, name: StationName, stop: Stop) -> bool:
        self._last = stop
        reached = stop.reason is StopReason.REACHED
        at = self._living.instructions
        why = None if reached else self._why(stop)
        self._stations.append(Station(name, reached, at if reached else None, why))
        return reached

    def _why(self, stop: Stop) -> str:
        refusal = self._living.refusal
        if refusal is not None:
            return f"/init says: {refusal}"
        if stop.reason is StopReason.INSTRUCTION_LIMIT:
            return (
                f"not within {self._job.boot:g} s of the board "
                f"(--boot; {stop.instructions:,} instructions)"
            )
        if stop.reason is StopReason.TIMEOUT:
            return (
                f"the host's time was over (--timeout {self._job.timeout:g}) after "
                f"{stop.instructions:,} instructions"
            )
        return f"{stop.reason}: {stop.detail}" if stop.detail else str(stop.reason)

    def _loaded(self, kernel: LivingKernel) -> tuple[LoadedImage | None, PageDigests | None]:
        """Run through machine_kexec_post_load, and read what it leaves."""
        living = self._living
        if POST_LOAD not in kernel.symbols:
            why = f"not seen: this kernel has no {POST_LOAD}"
            self._stations.append(Station(StationName.LOADED, True, None, why))
            return None, None
        stop = living.run(kernel.address(POST_LOAD))
        if stop.reason is not StopReason.REACHED:
            self._passed(StationName.LOADED, stop)
            return None, None
        cpu = living.cpu
        va, back = cpu.x(0), cpu.x(30)
        counter = OperationCounter(cpu, living.memory.base, 0)
        recorder = None if self._job.plain else Recorder(cpu)
        with counter, recorder or nullcontext():
            stop = living.run(back)
        if not self._passed(StationName.LOADED, stop):
            return None, None
        loaded = read_kimage(living.state(), kernel, va)
        digests = PageDigests(living.memory, loaded)
        self._load = LoadWindow(stop.instructions, counter.counts(), digests.count)
        if loaded.crash and not TO_MEMORY.intersection(self._load.operations):
            self._history = CLEANED_LATER
        elif recorder is not None:
            self._history = load_history(recorder.trace(), loaded, digests.code, _text(kernel))
        return loaded, digests

    def _hand_over(
        self, kernel: LivingKernel, loaded: LoadedImage | None, digests: PageDigests | None
    ) -> None:
        living, job = self._living, self._job
        if self._spoil is not None and loaded is not None:
            self._spoil(living.memory, loaded)
        if digests is not None and self._load is not None:
            self._load = replace(self._load, changed=digests.changed())
        state = living.state()
        if loaded is None or state.x[0] != loaded.kimage.va:
            loaded = read_kimage(state, kernel, state.x[0])
        given = {one.at: _handed_in(one) for one in living.layout.segments}
        if self._load is None or self._load.changed:
            self._history = NO_HISTORY
        machine = found_machine(state, kernel, loaded, living.layout.ram, given, self._history)
        self._first_console = living.screen.text
        as_job = self._as_job(loaded)
        record = execute(machine, living.cpu, as_job, self._report)
        for leg in record.legs:
            living.count(leg.stop)
        evidence = Evidence(_subject(machine), record)
        outcome = conclude(evidence, strict=job.strict, profile=job.profile)
        self._handover = outcome
        last = record.legs[-1].stop
        if self._passed(StationName.ENTERED, last):
            living.give()
            evidence = replace(evidence, record=replace(record, boot=self._boot(machine, record)))
            outcome = conclude(evidence, strict=job.strict, profile=job.profile)
        if self._trace is not None:
            from relokit.runtime.evidence.trace_formats import write_trace

            outcome = replace(
                outcome, trace=write_trace(evidence, outcome, self._trace, as_job.trace_format)
            )
        self._handover = outcome

    def _as_job(self, loaded: LoadedImage) -> Job:
        job = self._job
        path = KexecPath.CRASH if loaded.crash else KexecPath.PURGATORY
        return Job(
            kernel=job.next or job.kernel,
            path=path,
            plain=job.plain,
            timeout=job.timeout,
            observe=not job.plain,
            effects=job.effects and not isinstance(self._history, str),
            strict=job.strict,
        )

    def _boot(self, machine: Machine, record: Record) -> BootFacts:
        living = self._living
        self._undefined = living.cpu.undefined
        living.screen.begin_anew(BANNER)
        stop = living.to_user_space()
        banner = living.screen.seen
        why = None
        if not banner:
            silent = stop.reason is StopReason.REACHED
            why = "the console never came: " + (SILENT if silent else self._why(stop))
        self._stations.append(Station(StationName.BANNER, banner, None, why))
        if self._passed(StationName.NEXT_USER_SPACE, stop):
            stop = living.run(NEVER)
            ended = stop.reason is StopReason.POWERED_OFF
            at = living.instructions if ended else None
            self._stations.append(
                Station(StationName.POWERED_OFF, ended, at, None if ended else self._why(stop))
            )
        self._last = stop
        [kernel] = [
            one for one in machine.inputs.segments if one.segment.mem == machine.stages[-1].pc
        ]
        scene = None
        if stop.reason not in BY_ITSELF:
            scene = scene_of_kernel(machine, living.cpu, stop, kernel)
        return BootFacts(
            kernel.kind,
            living.screen.text,
            stop,
            self._job.boot,
            living.limits,
            None,
            living.screen.dropped,
            scene,
            undefined=_more(living.cpu.undefined, self._undefined),
        )

    def _unknown(self) -> dict[str, str]:
        if self._handover is None:
            return {}
        found = dict(UNKNOWN)
        if isinstance(self._history, str):
            found["history"] = self._history
            if self._job.effects:
                found["effects"] = "what would be lost, without the history: caches had none"
        return found

    def _outcome(self) -> LiveOutcome:
        living, job, last = self._living, self._job, self._last
        assert last is not None
        done = {one.name for one in self._stations}
        before = next((one.name for one in self._stations if not one.reached), None)
        for name in StationName:
            if name not in done:
                self._stations.append(Station(name, False, None, f"after {before}"))
        missed = next((one for one in self._stations if not one.reached), None)
        handover, load = self._handover, self._load
        status = Status.PASS
        if last.reason in NO_ANSWERS:
            status = Status.NO_ANSWER
        elif missed or (handover and not handover.passed) or (load and load.changed):
            status = Status.FAIL
        return LiveOutcome(
            status=status,
            kernel=self._inputs.kernel.name,
            next=self._inputs.next.name,
            regime=job.regime,
            cpu=living.layout.model,
            features=job.features,
            crash=job.crash,
            instructions=living.instructions,
            stations=tuple(self._stations),
            console=living.screen.text if self._first_console is None else self._first_console,
            load=load,
            handover=handover,
            unknown=self._unknown(),
            undefined=(living.cpu.undefined if self._undefined is None else self._undefined)
            or None,
            ended=None if missed is None else missed.why,
        )


def _more(counts: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    more = {name: count - before.get(name, 0) for name, count in counts.items()}
    return {name: count for name, count in more.items() if count}


def _handed_in(one: LivePiece) -> HandedIn:
    # /init has filled in where the notes of a crash are.
    filled_in = one.kind is PayloadKind.CORE_HEADER
    return HandedIn(one.kind, None if filled_in else one.data)


def _text(kernel: LivingKernel) -> list[Range]:
    """The kernel's code: 6.4 has put what is mapped one to one beside its read-only data."""
    found = [(kernel.pa, kernel.place("_etext"))]
    if IDMAP_TEXT[0] in kernel.symbols:
        start, end = map(kernel.place, IDMAP_TEXT)
        found.append((start, end))
    return found


def _subject(machine: Machine) -> Subject:
    target, kimage = machine.target, machine.kimage
    return Subject(
        name=target.name,
        target=JudgedTarget.of(target),
        payload=machine.inputs.description,
        pages=0 if kimage.in_place else total_pages(kimage.segments, target.page_size),
    )
