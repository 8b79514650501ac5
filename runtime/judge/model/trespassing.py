"""One pass over a trace: whose memory the move reads, executes and fills, and when.

The bytes of a page mean what they held at the jump, until the move has stored to them. What is
read, executed or translated by after that is the new kernel's, and was not meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.model.spans import AccessRanges, Earlier, Spans
from relokit.runtime.judge.model.tables_in_force import TABLES, InForce, tables_in_force
from relokit.runtime.judge.model.trespass import Trespasses, TrespassKind
from relokit.runtime.record.claims import Ownership
from relokit.runtime.record.prehistory import Range, without
from relokit.runtime.record.trace import ATTRIBUTE_MMU, Trace, TraceKind

PREPARED = frozenset(
    {
        OwnerKind.SOURCES,
        OwnerKind.LIST,
        OwnerKind.CONTROL_PAGE,
        OwnerKind.EL2_VECTORS,
        OwnerKind.LINEAR_MAP,
        OwnerKind.CONTROL_IDMAP,
        OwnerKind.SAFE_PAGES,
        OwnerKind.EXIT_CODE,
        OwnerKind.PAGE_LIST,
    }
)
"""Owners of what was allocated for the move, outside of all destinations; nobody else writes it."""
LISTS = frozenset({OwnerKind.LIST, OwnerKind.PAGE_LIST})
EXAMINED = 256
"""Accesses of an instruction that are looked at byte by byte, the first ones."""
ALL_EXAMINED = 1 << 14
"""The same, of all instructions."""


@dataclass(frozen=True, slots=True)
class Way:
    """Which records of a trace are the move's, ``begin`` to ``end``; before are the old kernel's.

    ``handed_over`` says that what is entered after it was, ``resumes`` that this is a kernel whose
    own pages and tables were filled in.
    """

    begin: int
    end: int
    handed_over: bool
    resumes: bool


def entered(trace: Trace, pc: int) -> int:
    """The number of the first record in which the instruction at ``pc`` is fetched or executed."""
    records = trace.records
    fetches = np.flatnonzero(trace.kinds == TraceKind.FETCH)
    at, size = records["va"][fetches], records["length"][fetches]
    hits = fetches[(at <= pc) & (pc - at < size)]
    fetched = int(hits[0]) if len(hits) else len(records)
    done = records["pc"][:fetched] == pc
    return int(done.argmax()) if done.any() else fetched


def trespasses_of(
    trace: Trace, facts: Ownership, regions: Sequence[Region], way: Way
) -> Trespasses:
    """All there are, in a trace that begins at machine_kexec."""
    records = trace.records
    kinds = trace.kinds
    numbers = np.arange(len(records))
    moving = (numbers >= way.begin) & (numbers < way.end)
    found = Trespasses()
    before = AccessRanges.of(records, (kinds == TraceKind.STORE) & (numbers < way.begin))
    _stores(found, before.which(_protected(facts, regions).touch(before.start, before.end)))
    stores = AccessRanges.of(records, (kinds == TraceKind.STORE) & moving)
    loads = AccessRanges.of(records, (kinds == TraceKind.LOAD) & moving)
    fetches = AccessRanges.of(records, (kinds == TraceKind.FETCH) & moving)
    earlier = Earlier(stores)
    if way.resumes:
        _unfilled(found, trace, facts, regions, stores, way)
    else:
        _tables(found, trace, regions, stores)
    filled, sources = Spans(facts.filled), _sources(facts)
    astray = stores.which(~filled.hold(stores.start, stores.end))
    _stores(found, astray)
    _overwritten_sources(found, sources, loads, earlier)
    _overwritten(found, facts, filled, sources, loads, earlier)
    for number, pc, start, end in _first(earlier.suspects(fetches)):
        for by, at, size in earlier.into(number, start, end):
            found.at(TrespassKind.FETCH, pc).add(at, size, by)
    _lists(found, facts, regions, loads)
    if len(stores):
        late = loads.which(loads.number > stores.number[0])
        _stray_reads(found, facts, regions, late)
    if way.handed_over:
        _unwritten(found, filled, stores)
    return found


def _protected(facts: Ownership, regions: Iterable[Region]) -> Spans:
    """What the old kernel leaves alone once it is on its way."""
    return Spans(without([*facts.kept, *_of(regions, PREPARED)], facts.made))


def _of(regions: Iterable[Region], kinds: Iterable[OwnerKind]) -> Iterator[Range]:
    wanted = frozenset(kinds)
    return ((one.base, one.end) for one in regions if one.owner.kind in wanted)


def _first(accesses: AccessRanges) -> Iterator[tuple[int, int, int, int]]:
    """The first EXAMINED rows of each instruction, ALL_EXAMINED in all."""
    times: Counter[int] = Counter()
    total = 0
    for row in accesses.rows():
        times[row[1]] += 1
        if times[row[1]] <= EXAMINED:
            total += 1
            yield row
        if total == ALL_EXAMINED:
            break


def _stores(found: Trespasses, stores: AccessRanges) -> None:
    for _, pc, start, end in stores.rows():
        found.at(TrespassKind.STORE, pc).add(start, end - start)


def _sources(facts: Ownership) -> Spans:
    return Spans.of_pages(np.frombuffer(facts.sources, "<u8"), facts.page_size)


def _overwritten_sources(
    found: Trespasses, sources: Spans, loads: AccessRanges, earlier: Earlier
) -> None:
    """Stores to bytes of source pages that are read for the first time after that."""
    late = earlier.suspects(loads.which(sources.touch(loads.start, loads.end)))
    if not len(late):
        return
    read = Earlier(loads)
    for number, pc, start, end in _first(late):
        if not any(read.into(number, start, end)):
            for by, at, length in earlier.into(number, start, end):
                found.at(TrespassKind.SOURCE, by).add(at, length, pc)


def _overwritten(
    found: Trespasses,
    facts: Ownership,
    filled: Spans,
    sources: Spans,
    loads: AccessRanges,
    earlier: Earlier,
) -> None:
    """Reads of what is to be read, and is no source, after a store to it."""
    wanted = Spans(facts.readable).touch(loads.start, loads.end)
    wanted |= ~filled.touch(loads.start, loads.end)
    wanted &= ~sources.touch(loads.start, loads.end)
    for number, pc, start, end in _first(earlier.suspects(loads.which(wanted))):
        for by, at, length in earlier.into(number, start, end):
            found.at(TrespassKind.READ, pc).add(at, length, by)


def _lists(
    found: Trespasses, facts: Ownership, regions: Iterable[Region], loads: AccessRanges
) -> None:
    pages = Spans(_of(regions, LISTS))
    past = pages.touch(loads.start, loads.end) & ~Spans(facts.listed).hold(loads.start, loads.end)
    for _, pc, start, end in loads.which(past).rows():
        found.at(TrespassKind.PAST_END, pc).add(start, end - start)


def _stray_reads(
    found: Trespasses, facts: Ownership, regions: Iterable[Region], loads: AccessRanges
) -> None:
    allowed = Spans([*facts.readable, *facts.filled, *_of(regions, LISTS)])
    for _, pc, start, end in loads.which(~allowed.hold(loads.start, loads.end)).rows():
        found.at(TrespassKind.STRAY_READ, pc).add(start, end - start)


def _unwritten(found: Trespasses, filled: Spans, stores: AccessRanges) -> None:
    """What of the destinations no store has reached."""
    written = Spans(_runs(stores))
    gaps = [gap for one in filled.ranges for gap in written.gaps(*one)]
    if gaps:
        told = found.at(TrespassKind.UNWRITTEN, _beside(stores, gaps[0][0]))
        for low, high in gaps:
            told.add(low, high - low)


def _runs(stores: AccessRanges) -> Iterator[Range]:
    """All that was stored to, merged, ascending."""
    order = np.argsort(stores.start, kind="stable")
    starts, ends = stores.start[order], np.maximum.accumulate(stores.end[order])
    # A run ends where the next one begins behind all before it.
    last = np.append(ends[:-1] < starts[1:], True)[: len(ends)]
    first = np.append(True, last[:-1])[: len(ends)]
    return zip(starts[first].tolist(), ends[last].tolist(), strict=True)


def _beside(stores: AccessRanges, pa: int) -> int | None:
    """The instruction that stored last below ``pa``: it should have gone on."""
    below = np.flatnonzero(stores.end <= pa)
    if not len(below):
        return None
    return int(stores.pc[below[int(stores.end[below].argmax())]])


def _tables(
    found: Trespasses, trace: Trace, regions: Sequence[Region], stores: AccessRanges
) -> None:
    suspects = stores.which(Spans(_of(regions, TABLES)).touch(stores.start, stores.end))
    if not len(suspects):
        return
    for one in _used(trace, regions):
        for number, pc, start, end in _first(suspects):
            if number < one.begin and _in(one, regions, start, end):
                found.at(TrespassKind.TABLES, one.pc, one.register).add(start, end - start, pc)


def _unfilled(
    found: Trespasses,
    trace: Trace,
    facts: Ownership,
    regions: Sequence[Region],
    stores: AccessRanges,
    way: Way,
) -> None:
    """The resumed kernel's own tables: put to use before they are back, or with bytes left out."""
    filled = Spans(facts.filled)
    for one in _used(trace, regions):
        owed = [each for each in _of(regions, [one.kind]) if filled.touches(*each)]
        before = stores.which(stores.number < one.begin)
        written = Spans(_runs(before))
        gaps = [gap for each in owed for gap in written.gaps(*each)]
        if not gaps:
            continue
        if not Spans(owed).touch(before.start, before.end).any():
            told = found.at(TrespassKind.UNFILLED, one.pc, one.register)
        elif way.handed_over:
            # Told with all that is missing.
            continue
        else:
            told = found.at(TrespassKind.UNWRITTEN, _beside(before, gaps[0][0]))
        for low, high in gaps:
            told.add(low, high - low)


def _used(trace: Trace, regions: Sequence[Region]) -> Iterator[InForce]:
    """What is in force while something is translated at its level."""
    records = trace.records
    translated = records["attributes"] & ATTRIBUTE_MMU != 0
    for one in tables_in_force(trace, regions):
        in_force = slice(one.begin + 1, one.end)
        if (translated[in_force] & (records["el"][in_force] == one.level)).any():
            yield one


def _in(one: InForce, regions: Iterable[Region], start: int, end: int) -> bool:
    return any(low < end and high > start for low, high in _of(regions, [one.kind]))
