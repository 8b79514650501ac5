"""Machine to Record: run machine_kexec, the move, and what lies between it and the new kernel.

Nothing is judged here. What rules need of guest RAM is read at the stations, so that a page which
the move may overwrite is looked at before it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from relokit.codegen.series import Feature
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.content import BytesContent, verify
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.kexec.address_space import kernel_ttbr1
from relokit.runtime.kexec.arrange import Stage
from relokit.runtime.kexec.hibernate import HOME, Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import total_pages
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.given import Given
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.memory_facts import Arrival
from relokit.runtime.record.record import Record, Seen, SegmentPlace
from relokit.runtime.record.scene import Scene
from relokit.runtime.record.stations import Promise, StationRole
from relokit.runtime.run.given_reading import given
from relokit.runtime.run.journey import NEVER_REACHED, OF_OTHERS, RECORDED, SHORT, Journey, Report
from relokit.runtime.run.keepsake import Keepsake
from relokit.runtime.run.prepared import prepared_facts

if TYPE_CHECKING:
    from relokit.runtime.engine.interruption import Interruption
    from relokit.runtime.run.behind_caches import BehindCaches
    from relokit.runtime.run.recording import Recording

_PLAIN = Unknown("not recorded: a plain run")
NOTHING_SEEN = Seen(_PLAIN, _PLAIN, _PLAIN, _PLAIN, _PLAIN, _PLAIN, _PLAIN)


def execute(
    machine: Machine,
    cpu: Cpu,
    job: Job,
    report: Report,
    watch: AbstractContextManager[object] | None = None,
) -> Record:
    """Run ``machine`` on ``cpu`` up to the new kernel's first instruction, or as far as it gets.

    All of it is recorded unless ``job`` is plain. ``watch`` is entered for the move and no longer.
    Whatever the guest does is in the Record.
    """
    page_size = machine.target.page_size
    limits = SHORT if machine.found is None else OF_OTHERS
    promises = tuple(_promise(machine, stage) for stage in machine.stages)
    journey = Journey(machine, cpu, _jump_promise(machine), promises)
    destinations = [
        (segment.mem, segment.pages(page_size) * page_size) for segment in machine.kimage.segments
    ]
    recording, effects = _recording(machine, cpu, job), _effects(machine, cpu, job)
    interruption = _interruption(cpu, job)
    with recording or nullcontext(), interruption or nullcontext():
        journey.prelude(limits)
        prepared, keepsake = prepared_facts(machine), Keepsake(machine)
        journey.move(destinations, job, report, watch)
        early = _purgatories(machine) if journey.going and machine.found is not None else {}
        journey.onward(limits, RECORDED if recording else None)
    # A purgatory that takes longer, and the kernel behind it: for the verdict, not for the trace.
    journey.onward(limits)
    # What the CPU saw where it ended, before RAM is what memory is.
    scene = journey.scene()
    felt = effects.end(entered=bool(journey.reached)) if effects else None
    seen = recording.seen() if recording else NOTHING_SEEN
    return Record(
        regime=machine.target.regime,
        stub_by_kimage=machine.kimage.layout.arch is not None
        and machine.target.has(Feature.RELOCATE_AT_EL1),
        legs=tuple(journey.legs),
        jump=journey.jump,
        promises=promises,
        reached=tuple(journey.reached),
        prepared=prepared,
        damage=keepsake.damage(),
        arrived=_arrivals(machine, report, early) if journey.going else NEVER_REACHED,
        scene=scene,
        boot=None,
        operations=journey.operations,
        interrupt=interruption.seen() if interruption else None,
        trace=seen.trace,
        prehistory=seen.prehistory,
        code=seen.code,
        tables=seen.tables,
        segments=tuple(
            SegmentPlace(loaded.segment.name, loaded.kind, loaded.segment.mem, loaded.segment.memsz)
            for loaded in machine.inputs.segments
        ),
        regions=machine.allocator.regions,
        ownership=seen.ownership,
        platform=journey.platform,
        given=_given(machine) if journey.going else NEVER_REACHED,
        effects=felt,
        path=seen.path,
        executed=seen.executed,
        banks=machine.memory.banks,
        around=machine.found.around if machine.found else None,
    )


def execute_resume(resume: Resume, cpu: Cpu, job: Job, report: Report) -> Record:
    """Run the resume side of hibernation up to where the resumed kernel goes on."""
    old = resume.old
    jump = Promise(
        role=StationRole.RELOCATION,
        pc=resume.jump,
        el=old.el,
        mmu=True,
        vectors=_safe_vectors(resume.allocator.regions),
    )
    promise = Promise(
        role=StationRole.RESUMED,
        pc=resume.entry,
        el=old.el,
        mmu=True,
        ttbr1=kernel_ttbr1(resume.target, resume.tables),
        vectors=resume.vectors or None,
    )
    journey = Journey(resume, cpu, jump, (promise,))
    home = resume.home
    recording, effects = _recording(resume, cpu, job), _effects(resume, cpu, job)
    interruption = _interruption(cpu, job)
    with recording or nullcontext(), interruption or nullcontext():
        journey.prelude()
        journey.move([(home.base, home.size)], job, report)
    # What the CPU saw where it ended, before RAM is what memory is.
    scene = journey.scene()
    felt = effects.end(entered=bool(journey.reached)) if effects else None
    seen = recording.seen() if recording else NOTHING_SEEN
    arrived: tuple[Arrival, ...] | Unknown = NEVER_REACHED
    if journey.going or (scene is not None and _walks_by(scene, promise)):
        result = verify(
            resume.memory, home.base, home.size, resume.target.page_size, resume.content
        )
        arrived = (Arrival(HOME, PayloadKind.PATTERN, home.base, result), *_tables_arrived(resume))
    return Record(
        regime=resume.target.regime,
        stub_by_kimage=False,
        legs=tuple(journey.legs),
        jump=journey.jump,
        promises=(promise,),
        reached=tuple(journey.reached),
        prepared=None,
        damage=None,
        arrived=arrived,
        scene=scene,
        boot=None,
        operations=journey.operations,
        interrupt=interruption.seen() if interruption else None,
        trace=seen.trace,
        prehistory=seen.prehistory,
        code=seen.code,
        tables=seen.tables,
        segments=(SegmentPlace(HOME, PayloadKind.PATTERN, home.base, home.size),),
        regions=resume.allocator.regions,
        ownership=seen.ownership,
        platform=journey.platform,
        given=None,
        effects=felt,
        path=seen.path,
        executed=seen.executed,
        banks=resume.memory.banks,
    )


def _walks_by(scene: Scene, promise: Promise) -> bool:
    """Whether the resumed kernel's tables are in TTBR1: by then all of it has to be back."""
    return scene.cpu.system.get(f"TTBR1_EL{scene.cpu.level}") == promise.ttbr1


def _tables_arrived(resume: Resume) -> Iterator[Arrival]:
    """Each piece of the resumed kernel's tables that is restored."""
    page = resume.target.page_size
    for region, held in resume.restored:
        result = verify(resume.memory, region.base, region.size, page, BytesContent(held))
        yield Arrival(str(region.owner), PayloadKind.PATTERN, region.base, result)


def _interruption(cpu: Cpu, job: Job) -> Interruption | None:
    """What raises an interrupt, if one is asked for; it is entered behind what records."""
    if job.interrupts is None:
        return None
    from relokit.runtime.engine.interruption import Interruption

    return Interruption(cpu, job.interrupts)


def _recording(guest: Machine | Resume, cpu: Cpu, job: Job) -> Recording | None:
    """What records; None for a plain run, which does not import it."""
    if job.plain:
        return None
    from relokit.runtime.run.recording import Recording

    return Recording(guest, cpu, job)


def _effects(guest: Machine | Resume, cpu: Cpu, job: Job) -> BehindCaches | None:
    """What has caches take effect; None for a run without, which does not import it."""
    if not job.effects:
        return None
    from relokit.runtime.run.behind_caches import BehindCaches

    return BehindCaches(guest, cpu, job)


def _jump_promise(machine: Machine) -> Promise | None:
    """What the state of the series promises to the relocation code."""
    if machine.jump is None:
        return None
    return Promise(
        role=StationRole.RELOCATION,
        pc=machine.jump,
        el=machine.el_at_jump,
        mmu=machine.target.has(Feature.MMU_ON),
        vectors=_safe_vectors(machine.allocator.regions),
    )


def _safe_vectors(regions: Iterable[Region]) -> int | None:
    """PA of the copy of the EL2 vectors, if there is one."""
    kind = OwnerKind.EL2_VECTORS
    return next((region.base for region in regions if region.owner.kind is kind), None)


def _promise(machine: Machine, stage: Stage) -> Promise:
    """What kexec and booting.rst promise to what is entered after the move."""
    last = stage is machine.stages[-1]
    return Promise(
        role=StationRole.KERNEL if last else StationRole.PURGATORY,
        pc=stage.pc,
        el=machine.el_at_start,
        mmu=False,
        x0=stage.x0,
    )


def _given(machine: Machine) -> Given:
    """What the new kernel finds where it is entered, and where its device tree is to be.

    What is moved may be a single page, and no device tree.
    """
    kernel = machine.stages[-1]
    has_tree = any(one.kind is PayloadKind.DEVICE_TREE for one in machine.inputs.segments)
    tree = kernel.x0 if has_tree else None
    return given(machine.memory, kernel.pc, tree, machine.inputs.ram.crash)


def _purgatories(machine: Machine) -> dict[int, Arrival]:
    """By PA, what has data of its own, compared before it runs: others' purgatories write it."""
    page = machine.target.page_size
    return {
        one.segment.mem: Arrival(
            one.segment.name,
            one.kind,
            one.segment.mem,
            verify(machine.memory, one.segment.mem, one.segment.memsz, page, one.content),
        )
        for one in machine.inputs.segments
        if one.kind is PayloadKind.PURGATORY
    }


def _arrivals(
    machine: Machine, report: Report, early: Mapping[int, Arrival]
) -> tuple[Arrival, ...]:
    """Every segment compared with its content, but for what was compared ``early``."""
    page_size = machine.target.page_size
    total = total_pages(machine.kimage.segments, page_size) * page_size
    done = 0
    found = []
    for loaded in machine.inputs.segments:
        segment = loaded.segment
        if segment.mem in early:
            found.append(early[segment.mem])
            continue

        def progress(part: int, _: int, before: int = done) -> None:
            report("verify", before + part, total)

        result = verify(
            machine.memory, segment.mem, segment.memsz, page_size, loaded.content, progress
        )
        done += result.pages * page_size
        found.append(Arrival(segment.name, loaded.kind, segment.mem, result))
    return tuple(found)
