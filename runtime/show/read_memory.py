"""Machine to MemoryShown: the ledger and the list, as a map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from zlib import crc32

import numpy as np

from relokit.codegen.base.errors import MachineError
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.kexec.hibernate import HOME, Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import read_field, walk_list
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.show.at_moment import cpu_at
from relokit.runtime.show.memory_map import pieces_of
from relokit.runtime.show.read_resumed import pairs_of_resume
from relokit.runtime.show.shown.memory_shown import MemoryShown, Moved, RamBank
from relokit.runtime.show.shown.question import Moment, Question


def memory_shown(machine: Machine | Resume, question: Question, job: Job) -> MemoryShown:
    """The map of ``machine`` at a moment; what has changed by then is told of what is owned."""
    moment = question.moment
    memory, page_size = machine.memory, machine.target.page_size
    moves, problem = _moves(machine)
    before: Mapping[Region, int] | None = None
    after: Mapping[Region, int] = {}
    if moment is not Moment.START:
        before = _sums(memory, machine.allocator.regions)
        cpu_at(machine, moment, job)
        after = _sums(memory, machine.allocator.regions)
    changed = None if before is None else {one: before[one] != after[one] for one in before}
    return MemoryShown(
        of=machine.target.name,
        moment=str(moment),
        page_size=page_size,
        banks=tuple(RamBank(*one) for one in memory.banks),
        pieces=pieces_of(machine.allocator.regions, memory.banks, changed),
        moves=moves,
        problem=problem,
    )


def _sums(memory: GuestMemory, regions: Iterable[Region]) -> dict[Region, int]:
    return {one: crc32(memory.view(one.base, one.size).data) for one in regions}


def _moves(machine: Machine | Resume) -> tuple[tuple[Moved, ...], str | None]:
    if isinstance(machine, Resume):
        return _restored(machine)
    kimage, page = machine.kimage, machine.target.page_size
    nothing = np.empty(0, np.uint64)
    pairs, problem = (nothing, nothing), None
    if not kimage.in_place:
        try:
            pairs = walk_list(machine.memory, read_field(machine.memory, kimage, "head"), page)
        except MachineError as error:
            problem = error.message
    segments = [
        (one.name, one.mem, one.memsz, one.mem + one.pages(page) * page) for one in kimage.segments
    ]
    return tuple(_moved(segments, page, *pairs)), problem


def _restored(resume: Resume) -> tuple[tuple[Moved, ...], str | None]:
    """What is put back: the pages, and the resumed kernel's tables."""
    page, problem = resume.target.page_size, None
    nothing = np.empty(0, np.uint64)
    pairs = nothing, nothing
    try:
        pairs = pairs_of_resume(resume)
    except MachineError as error:
        problem = error.message
    places = [(HOME, resume.home), *((str(one.owner), one) for one, _ in resume.restored)]
    segments = [(name, one.base, one.size, one.end) for name, one in places]
    return tuple(_moved(segments, page, *pairs)), problem


def _moved(
    segments: Iterable[tuple[str, int, int, int]], page: int, destinations: Words, sources: Words
) -> Iterator[Moved]:
    """``segments`` are names, PAs, bytes, and the PAs at which their pages end."""
    for name, base, size, end in segments:
        own = (destinations >= np.uint64(base)) & (destinations < np.uint64(end))
        theirs = sources[own]
        about = name, base, size, int(own.sum())
        if not len(theirs):
            yield Moved(*about)
            continue
        breaks = int((theirs[1:] != theirs[:-1] + np.uint64(page)).sum())
        at_home = int((theirs == destinations[own]).sum())
        low, high = int(theirs.min()), int(theirs.max()) + page
        yield Moved(*about, low, high, breaks + 1, at_home)
