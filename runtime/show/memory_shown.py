"""Who owns guest RAM, and which pages go where: the ledger and the list, as a map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import ClassVar
from zlib import crc32

import numpy as np

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.guest.address_spans import extents_of, spans_of, without
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import KexecSegment, read_field, walk_list
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.show.at_moment import cpu_at
from relokit.runtime.show.question import Moment

FREE = "free"
MAX_PIECES = 1 << 14
"""Pieces of a map that are told."""


@dataclass(frozen=True, slots=True)
class RamBank:
    """``bytes`` of RAM from PA ``base``."""

    base: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RamPiece:
    """``bytes`` from PA ``base`` that ``owner`` has, as it is shown; ``kind`` is which kind.

    ``changed`` says whether they are others than as machine_kexec was called; None where nobody
    has looked.
    """

    base: int
    bytes: int
    owner: str
    kind: str
    changed: bool | None = field(default=None, metadata=ABSENT)

    @property
    def end(self) -> int:
        """First PA after it."""
        return self.base + self.bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """Segment ``name``: ``bytes`` of memory at PA ``base``, ``pages`` of it by the list.

    Their sources lie from PA ``low`` to ``high`` in ``runs`` that ascend; ``at_home`` of them are
    where they belong already. ``low`` is None where nothing is copied.
    """

    name: str
    base: int
    bytes: int
    pages: int
    low: int | None = None
    high: int | None = None
    runs: int = 0
    at_home: int = 0


@dataclass(frozen=True, slots=True)
class MemoryShown:
    """RAM of the machine ``of`` at ``moment``: ``pieces`` and what is free between them ascend.

    ``problem`` says why the list cannot be followed, if it cannot: there are no sources then.
    """

    SCHEMA: ClassVar[str] = "relokit.show.memory/1"
    DOCUMENT: ClassVar[Table] = shown(
        "of", "moment", "page_size", "banks", "pieces", "moves", "problem"
    )

    of: str
    moment: str
    page_size: int
    banks: tuple[RamBank, ...]
    pieces: tuple[RamPiece, ...]
    moves: tuple[Moved, ...]
    problem: str | None = field(default=None, metadata=ABSENT)


def memory_shown(machine: Machine, moment: Moment, job: Job) -> MemoryShown:
    """The map of ``machine`` at ``moment``; what has changed by then is told of what is owned."""
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


def pieces_of(
    regions: Iterable[Region],
    banks: Iterable[tuple[int, int]],
    changed: Mapping[Region, bool] | None = None,
) -> tuple[RamPiece, ...]:
    """``regions`` with what is free of ``banks`` between them; neighbours that are alike are one.

    Raises MachineError for more than MAX_PIECES.
    """
    found = [
        RamPiece(
            one.base, one.size, str(one.owner), one.owner.kind.name.lower(),
            None if changed is None else changed[one],
        )
        for one in regions
    ]  # fmt: skip
    owned = spans_of((one.base, one.bytes) for one in found)
    found += [RamPiece(*one, FREE, FREE) for one in extents_of(without(spans_of(banks), owned))]
    joined: list[RamPiece] = []
    for one in sorted(found, key=lambda piece: piece.base):
        last = joined[-1] if joined else None
        alike = last and (last.end, last.owner, last.changed) == (one.base, one.owner, one.changed)
        if last is not None and alike:
            joined[-1] = RamPiece(last.base, last.bytes + one.bytes, *_of(last))
        else:
            joined.append(one)
    if len(joined) > MAX_PIECES:
        raise MachineError(f"memory is in {len(joined):,} pieces: more than are shown")
    return tuple(joined)


def _of(piece: RamPiece) -> tuple[str, str, bool | None]:
    return piece.owner, piece.kind, piece.changed


def _sums(memory: GuestMemory, regions: Iterable[Region]) -> dict[Region, int]:
    return {one: crc32(memory.view(one.base, one.size).data) for one in regions}


def _moves(machine: Machine) -> tuple[tuple[Moved, ...], str | None]:
    kimage, page = machine.kimage, machine.target.page_size
    nothing = np.empty(0, np.uint64)
    pairs, problem = (nothing, nothing), None
    if not kimage.in_place:
        try:
            pairs = walk_list(machine.memory, read_field(machine.memory, kimage, "head"), page)
        except MachineError as error:
            problem = error.message
    return tuple(_moved(kimage.segments, page, *pairs)), problem


def _moved(
    segments: Iterable[KexecSegment], page: int, destinations: Words, sources: Words
) -> Iterator[Moved]:
    for segment in segments:
        end = segment.mem + segment.pages(page) * page
        own = (destinations >= np.uint64(segment.mem)) & (destinations < np.uint64(end))
        theirs = sources[own]
        about = segment.name, segment.mem, segment.memsz, int(own.sum())
        if not len(theirs):
            yield Moved(*about)
            continue
        breaks = int((theirs[1:] != theirs[:-1] + np.uint64(page)).sum())
        at_home = int((theirs == destinations[own]).sum())
        low, high = int(theirs.min()), int(theirs.max()) + page
        yield Moved(*about, low, high, breaks + 1, at_home)
