"""Record to Counts. Numbers come from what is recorded whole; where two of them must agree, they do
or nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.model.caches.controls import Controls
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.record.known import UnknownFactError, known
from relokit.runtime.record.record import LegName, Record
from relokit.runtime.record.trace import Records, Trace, TraceKind
from relokit.runtime.timing.counts import Count, MoveCounts, Phase, Quantity, in_order
from relokit.runtime.timing.fill_levels import translations_of, turns_of
from relokit.runtime.timing.phases import PhaseSplit, split
from relokit.runtime.timing.word_effects import TABLES, WordEffect, effect_of

_PHASES = tuple(Phase)
MAX_INSTRUCTIONS = 1 << 18
"""In all blocks, which overlap: a move has some hundred."""
_LISTS = frozenset({OwnerKind.LIST, OwnerKind.PAGE_LIST})
Numbers = npt.NDArray[np.uint8]


def counts_of(record: Record, target: str, page_size: int, pages: int) -> MoveCounts:
    """What the CPU did, counted; ``pages`` of ``page_size`` bytes were to be moved.

    Raises UnknownFactError with the reason where the record does not tell.
    """
    trace, executed, code = known(record.trace), known(record.executed), known(record.code)
    if trace.full_at is not None:
        raise UnknownFactError(f"there was room for {len(trace.records):,} records, and no more")
    if not record.complete:
        raise UnknownFactError("the new kernel was not entered")
    blocks = [(int(row["pc"]), int(row["length"]), int(row["times"])) for row in executed.rows()]
    zero_block = 4 << (trace.start.get("DCZID_EL0", 0) & 0xF)
    if sum(length for _, length, _ in blocks) > MAX_INSTRUCTIONS:
        raise UnknownFactError(f"more than {MAX_INSTRUCTIONS:,} instructions in blocks")
    effects = {}
    for pc in sorted({at for va, length, _ in blocks for at in range(va, va + 4 * length, 4)}):
        word = code.word(pc)
        if word is None:
            raise UnknownFactError(f"the instruction at {pc:#x} is not known")
        effects[pc] = effect_of(word, zero_block)
    jump, entered = _moments(record, trace)
    phases = split(known(record.path), blocks, effects, jump, entered, trace.instructions)
    line = 4 << (trace.start.get("CTR_EL0", 0) >> 16 & 0xF)
    listed = sum(one.size for one in record.regions if one.owner.kind in _LISTS)
    rows = [
        *_instructions(phases, effects),
        *_accesses(trace, phases, effects, line),
        *_translations(record, trace, phases, page_size),
    ]
    return MoveCounts(target, page_size, line, pages, listed // page_size, in_order(rows))


def _moments(record: Record, trace: Trace) -> tuple[int, int]:
    """How many instructions had begun at the jump, and when the move was over."""
    begun = dict.fromkeys(LegName, 0)
    for leg in record.legs:
        begun[leg.name] += leg.stop.instructions
    if sum(begun.values()) != trace.instructions:
        raise UnknownFactError("the legs of the way are not what was recorded")
    jump = begun[LegName.PRELUDE]
    return jump, jump + begun[LegName.MOVE]


def _instructions(phases: PhaseSplit, effects: Mapping[int, WordEffect]) -> Iterator[Count]:
    for phase, executed in phases.executed.items():
        classes: Counter[str] = Counter()
        operations: Counter[str] = Counter()
        for pc, times in executed.items():
            effect = effects[pc]
            classes[effect.kind.value] += times
            if effect.operation not in ("", TABLES):
                operations[effect.operation] += times
        for quantity, found in (
            (Quantity.INSTRUCTIONS, classes),
            (Quantity.OPERATIONS, operations),
        ):
            for name, number in found.items():
                yield Count(phase, quantity, number, of=name)


def _accesses(
    trace: Trace, phases: PhaseSplit, effects: Mapping[int, WordEffect], line: int
) -> Iterator[Count]:
    """Loads and stores: bytes and how many by what was executed, memory types by the records."""
    types = _memory_types(trace)
    for kind, quantity, lines in (
        (TraceKind.LOAD, Quantity.LOADS, Quantity.LINES_LOADED),
        (TraceKind.STORE, Quantity.STORES, Quantity.LINES_STORED),
    ):
        chosen = np.flatnonzero(trace.records["kind"] == kind)
        rows, memory = trace.records[chosen], types[chosen]
        numbers = phases.numbers_of(rows)
        made = {
            phase: _sizes(executed, effects, kind) for phase, executed in phases.executed.items()
        }
        # Bytes: an access that goes over the end of a page is recorded as two.
        in_all = sum(size * times for sizes in made.values() for size, times in sizes.items())
        if in_all != int(rows["length"].sum(dtype=np.uint64)):
            raise UnknownFactError("accesses were begun that were not carried out")
        for phase, sizes in made.items():
            mine = numbers == _PHASES.index(phase)
            for (size, one), number in _by_type(sizes, rows, memory, mine).items():
                yield Count(phase, quantity, number, size=size, memory=_TYPES[one])
            for one in np.unique(memory[mine]).tolist():
                part = rows[mine & (memory == one)]
                yield Count(phase, lines, _lines(part, line), memory=_TYPES[one])


def _sizes(
    executed: Mapping[int, int], effects: Mapping[int, WordEffect], kind: TraceKind
) -> Counter[int]:
    found: Counter[int] = Counter()
    for pc, times in executed.items():
        size = effects[pc].loads if kind is TraceKind.LOAD else effects[pc].stores
        if size:
            found[size] += times
    return found


_TYPES = tuple(MemoryType)


def _memory_types(trace: Trace) -> Numbers:
    """For each record the place of its memory type in MemoryType; of loads and stores alone."""
    records = trace.records
    found = np.zeros(len(records), np.uint8)
    controls = Controls(trace.start)
    begin = 0
    writes = np.flatnonzero(records["kind"] == TraceKind.MSR)
    for end in [*writes.tolist(), len(records)]:
        part = records[begin:end]
        keys = part["attributes"].astype(np.uint32) | part["el"].astype(np.uint32) << 16
        unique, place = np.unique(keys, return_inverse=True)
        types = [_TYPES.index(controls.data(key & 0xFFFF, key >> 16)) for key in unique.tolist()]
        if types:
            found[begin:end] = np.array(types, np.uint8)[place]
        if end < len(records):
            write = records[end]
            controls.write(int(write["encoding"]), int(write["value"]), int(write["el"]))
        begin = end
    return found


def _by_type(
    sizes: Counter[int], rows: Records, memory: Numbers, mine: npt.NDArray[np.bool_]
) -> Counter[tuple[int, int]]:
    """The accesses of a phase by bytes and memory type.

    If all are to memory of one type, so is what is joined to the range of another phase. If not,
    the records have to tell it: ranges of equal accesses, as many as were made.
    """
    types = np.unique(memory[mine] if mine.any() else memory).tolist()
    if len(types) == 1 or not sizes:
        return Counter({(size, types[0]): number for size, number in sizes.items()})
    found: Counter[tuple[int, int]] = Counter()
    part = rows[mine]
    columns = (part["size"].tolist(), memory[mine].tolist(), part["count"].tolist())
    for size, one, number in zip(*columns, strict=True):
        found[size, one] += number
    told: Counter[int] = Counter()
    for (size, _), number in found.items():
        told[size] += number
    if told != sizes:
        raise UnknownFactError("accesses to memory of several types are in one range")
    return found


def _lines(rows: Records, line: int) -> int:
    """Different cache lines that the ranges touch."""
    first = rows["pa"] // np.uint64(line)
    last = (rows["pa"] + rows["length"] - np.uint64(1)) // np.uint64(line)
    order = np.argsort(first, kind="stable")
    first, last = first[order].astype(np.int64), last[order].astype(np.int64)
    reached = np.maximum.accumulate(last)
    before = np.concatenate(([-1], reached[:-1]))
    return int(np.maximum(0, last - np.maximum(first, before + 1) + 1).sum())


def _translations(
    record: Record, trace: Trace, phases: PhaseSplit, page_size: int
) -> Iterator[Count]:
    """Each page and each entry of the tables once a turn: the phase that needs it first has it."""
    fills = np.flatnonzero(trace.records["kind"] == TraceKind.FILL)
    found = translations_of(record, fills)
    numbers = phases.numbers_of(trace.records[fills])
    turns = np.searchsorted(turns_of(trace), fills)
    pages = trace.records["va"][fills] & ~np.uint64(page_size - 1)
    for quantity, what in (
        (Quantity.PAGES, pages),
        (Quantity.TRANSLATIONS, found["entry"]),
    ):
        keys = (turns, found["tables"], found["level"].astype(np.int64), what.astype(np.int64))
        _, firsts = np.unique(np.stack(keys), axis=1, return_index=True)
        levels = found["level"][firsts].tolist()
        pairs = Counter(zip(numbers[firsts].tolist(), levels, strict=True))
        for (number, level), times in pairs.items():
            if level >= 0:
                yield Count(_PHASES[number], quantity, times, of=f"level {level}")
