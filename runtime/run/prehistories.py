"""Machine to Prehistory: which lines the C half has cleaned before the CPU's first instruction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relokit.codegen.base.errors import MachineError
from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.runtime.guest.memory import Words
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import WORD, Kimage, walk_list
from relokit.runtime.kexec.machine import History, Machine
from relokit.runtime.kexec.maintenance import CacheOperation, What, maintenance_of
from relokit.runtime.kexec.old_kernel import OldKernel
from relokit.runtime.record.prehistory import Prehistory, Range, merged, without

_NEEDED = frozenset(
    {
        OwnerKind.SWAPPER,
        OwnerKind.ZERO_PAGE,
        OwnerKind.SOURCES,
        OwnerKind.KIMAGE,
        OwnerKind.LIST,
        OwnerKind.CONTROL_PAGE,
        OwnerKind.EL2_VECTORS,
        OwnerKind.LINEAR_MAP,
        OwnerKind.CONTROL_IDMAP,
        OwnerKind.RESTART_IDMAP,
        OwnerKind.RESUMED_SWAPPER,
        OwnerKind.SAFE_PAGES,
        OwnerKind.EXIT_CODE,
        OwnerKind.PAGE_LIST,
    }
)


def prehistory_of(machine: Machine, job: Job) -> Prehistory:
    """What the state of the series has C clean, at load or right before machine_kexec.

    Its last DSB completes all of it. The old kernel's text was cleaned by whoever loaded it.
    """
    rows = maintenance_of(
        machine.target,
        machine.kimage,
        code=len(machine.routines.relocation),
        crash=job.path is KexecPath.CRASH,
    )
    sources = _sources(machine)
    clean, fetchable = [_text(machine.old)], set[What]()
    for row in rows:
        clean += _cleaned(machine, row.what, sources)
        if row.operation in (CacheOperation.CODE, CacheOperation.VECTORS):
            fetchable.add(row.what)
    copied = [What.VECTORS] if machine.jump is None else [What.CODE, What.VECTORS]
    unfetchable = [
        one for what in copied if what not in fetchable for one in _cleaned(machine, what, [])
    ]
    if machine.kimage.in_place:
        needed = [*_needed(machine.old), *_segments(machine.kimage)]
    else:
        # What lies in a destination is read before that is filled, or lost anyway.
        needed = [*without(_needed(machine.old), _filled(machine.kimage)), *sources]
    return Prehistory(merged(clean), merged(needed), merged(unfetchable))


def prehistory_of_found(machine: Machine, history: History) -> Prehistory:
    """The same of a machine that was found, whose load was seen."""
    sources, kimage = _sources(machine), machine.kimage
    needed = [(one.base, one.end) for one in machine.allocator.regions if one.owner.kind in _NEEDED]
    needed += history.clean
    if kimage.in_place:
        needed += _segments(kimage)
    else:
        needed = [*without(needed, _filled(kimage)), *sources]
    return Prehistory(merged(history.clean), merged(needed), merged(history.unfetchable))


def prehistory_of_resume(resume: Resume) -> Prehistory:
    """Before a resume: hibernate copies its exit code and its vectors as kexec does."""
    clean = [_text(resume.old)]
    for region in resume.allocator.regions:
        if region.owner.kind in (OwnerKind.EXIT_CODE, OwnerKind.EL2_VECTORS):
            clean.append((region.base, region.end))
    return Prehistory(merged(clean), merged(without(_needed(resume.old), resume.filled)))


def _text(old: OldKernel) -> Range:
    return old.pa("_text"), old.pa("_etext")


def _needed(old: OldKernel) -> Iterator[Range]:
    yield _text(old)
    for region in old.allocator.regions:
        if region.owner.kind in _NEEDED:
            yield region.base, region.end


def _segments(kimage: Kimage) -> list[Range]:
    return [(segment.mem, segment.mem + segment.memsz) for segment in kimage.segments]


def _filled(kimage: Kimage) -> list[Range]:
    """The destinations, in whole pages."""
    page = kimage.page_size
    return [(one.mem, one.mem + one.pages(page) * page) for one in kimage.segments]


def _cleaned(machine: Machine, what: What, sources: list[Range]) -> list[Range]:
    kimage = machine.kimage
    match what:
        case What.CODE:
            return [(kimage.control_page, kimage.control_page + len(machine.routines.relocation))]
        case What.KIMAGE:
            return [(kimage.pa, kimage.pa + kimage.layout.size)]
        case What.SOURCES:
            return sources
        case What.SEGMENTS:
            return _segments(kimage)
        case What.LIST:
            # Every page but the last is full; behind IND_DONE nothing is cleaned.
            return [(kimage.pa, kimage.pa + WORD), *kimage.list_extents]
        case What.VECTORS:
            return [
                (region.base, region.base + VECTOR_TABLE_SIZE)
                for region in machine.allocator.regions
                if region.owner.kind is OwnerKind.EL2_VECTORS
            ]


def _sources(machine: Machine) -> list[Range]:
    """The source pages, by the list; none if it has none or is broken, which setup.list tells."""
    kimage, page = machine.kimage, machine.target.page_size
    if kimage.in_place:
        return []
    try:
        _, pages = walk_list(machine.memory, kimage.head, page)
    except MachineError:
        return []
    return list(page_runs(pages, page))


def page_runs(pages: Words, size: int) -> Iterator[Range]:
    """Pages of ``size`` bytes that follow each other, as ranges."""
    ordered = np.unique(pages)
    breaks = np.flatnonzero(np.diff(ordered) != size) + 1
    for run in np.split(ordered, breaks):
        if len(run):
            yield int(run[0]), int(run[-1]) + size
