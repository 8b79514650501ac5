"""What rules on caches and on code share: the trace followed once, and lapses told to a person."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol
from weakref import ReferenceType, ref

import numpy as np
import numpy.typing as npt

from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.model.caches.coherence import Coherence
from relokit.runtime.judge.model.caches.holdings import Delivered
from relokit.runtime.judge.model.caches.lapse import Lapse, LapseKind
from relokit.runtime.judge.rules.disassembly import disassemble, listing
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.rule import Broken
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.known import UnknownFactError, known
from relokit.runtime.record.record import LegName, Record
from relokit.runtime.record.stations import StationRole
from relokit.runtime.record.trace import Trace, TraceKind, are_of

MAX_TOLD = 8
"""Findings of one rule that are told one by one."""
MAX_NOTES = 4
"""Notes of a kind in one finding."""
READ_THROUGH_CACHES = frozenset(
    {PayloadKind.DEVICE_TREE, PayloadKind.INITRD, PayloadKind.CORE_HEADER}
)
"""Segments that the new kernel reads with its caches on."""
_PERIODS = tuple(1 << shift for shift in range(5, 17))


class Located(Protocol):
    """What is told of: at an instruction, about memory. See Lapse for the fields."""

    pc: int | None
    size: int
    times: int
    spans: list[tuple[int, int]]
    others: dict[int, int]


_last: tuple[ReferenceType[Trace], object, Coherence] | None = None


def coherence(record: Record) -> Coherence:
    """The caches over ``record``; followed once, whatever number of rules asks."""
    global _last
    trace, prehistory = known(record.trace), known(record.prehistory)
    delivered = tuple(_delivered(record))
    asked = prehistory, delivered, record.banks
    if _last is None or _last[0]() is not trace or _last[1] != asked:
        _last = ref(trace), asked, Coherence(trace, prehistory, delivered, record.banks)
    return _last[2]


def _delivered(record: Record) -> Iterator[Delivered]:
    """Which segments are handed over when: a purgatory's own to it, all others to the kernel.

    None in a trace that was full before: what it lacks may have written and cleaned all of them.
    """
    trace = known(record.trace)
    if trace.full_at is not None:
        return
    kernel = len(trace.records)
    for _, promise, cpu in record.stations():
        if promise.role is StationRole.RESUMED:
            for number, segment in enumerate(record.segments):
                yield Delivered(number, False, segment.base, segment.size, kernel, resumed=True)
            continue
        last = promise.role is StationRole.KERNEL
        before = kernel if last else first_fetch(trace, cpu.pc)
        for number, segment in enumerate(record.segments):
            if (segment.kind is PayloadKind.PURGATORY) != last:
                executed = segment.kind not in READ_THROUGH_CACHES
                yield Delivered(number, executed, segment.base, segment.size, before)


def first_fetch(trace: Trace, pc: int) -> int:
    """The number of the first record in which ``pc`` is executed."""
    fetches = np.flatnonzero(trace.kinds == TraceKind.FETCH)
    found = fetches[trace.records["va"][fetches] == pc]
    return int(found[0]) if len(found) else len(trace.records)


def lapses(record: Record, *kinds: LapseKind) -> Iterator[Lapse]:
    """Those of ``kinds``; raises UnknownFactError behind them if the trace has a gap."""
    yield from coherence(record).lapses.of(kinds)
    ask_whole(known(record.trace))


def ask_whole(trace: Trace) -> None:
    """Raises UnknownFactError if ``trace`` does not have all that was done."""
    if trace.full_at is not None:
        raise UnknownFactError(
            f"there was no more room in the trace after {trace.full_at:,} instructions"
        )
    if trace.unknown:
        raise UnknownFactError(f"{trace.unknown} instructions may access memory and are not known")


def segments(record: Record, lapse: Lapse) -> str:
    """What ``lapse`` hands over, by name."""
    names = [record.segments[number].name for number in lapse.segments]
    if len(names) <= MAX_NOTES:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} more segments"


def told(record: Record, message: str, lapse: Lapse, *, notes: Iterable[str] = ()) -> Broken:
    """``lapse`` as a finding: where, what code is there, whose memory.

    It has no station: it is told after what went wrong otherwise, as that is often why.
    """
    broken = told_at(record, message, lapse.pc, notes=(*owners(record, lapse), *notes))
    return replace(broken, uses=used_by(record, lapse))


def used_by(record: Record, one: Located) -> tuple[Used, ...] | None:
    """What the instruction went by when it first came to the memory that ``one`` is about.

    Maintenance goes on line by line, so its loop matters as much as where it began.
    """
    if one.pc is None or not one.spans:
        return None
    records = known(record.trace).records
    mine = records[(records["pc"] == one.pc) & (records["length"] > 0)]
    first = np.uint64(one.spans[0][0])
    found = np.flatnonzero((mine["pa"] <= first) & (first - mine["pa"] < mine["length"]))
    if not len(found):
        # Lines that maintenance left out are in no range of it.
        maintains = bool((mine["kind"] == TraceKind.DC).any())
        return (Used(one.pc, loop=maintains),)
    at = int(found[0])
    row = mine[at]
    begun: int | None = int(row["before"]) + 1
    if row["pa"] != first:
        # Further on in a range: the last time before the next one.
        begun = int(mine[at + 1]["before"]) if at + 1 < len(mine) else None
    return (Used(one.pc, begun=begun, loop=row["kind"] == TraceKind.DC),)


def told_at(record: Record, message: str, pc: int | None, *, notes: Iterable[str] = ()) -> Broken:
    """A finding at the instruction at ``pc``, with what code is there."""
    code = _code(record)
    return Broken(
        message,
        address=pc,
        place=None if pc is None else code.places.get(pc),
        listing=() if pc is None else listing(code.around(pc), pc),
        notes=tuple(notes),
    )


def maintenance(record: Record, pc: int | None, *kinds: TraceKind) -> tuple[Used, ...]:
    """What was maintained where that at ``pc`` was to be: by address, with the wrong one perhaps.

    Where nothing was, barriers since the last store, which is where it would be, and the branches
    that had it left out.
    """
    from relokit.runtime.judge.rules.makers import steps_of

    records = known(record.trace).records
    jump, steps = record.leg(LegName.PRELUDE), steps_of(record)
    done = are_of(records, kinds) & (records["before"] >= (jump.instructions if jump else 0))
    last = [int(at) for at in dict.fromkeys(records["pc"][done].tolist()[::-1])][:MAX_NOTES]
    uses = [Used(at, itself=True, loop=True) for at in last]
    for at in last if steps is not None else ():
        # By how much it goes on from line to line.
        on = steps.goes_on_by(at) if steps is not None else None
        uses += [] if on is None else [Used(on[0], on[1], cost=-1)]
    if not last:
        uses = [*_barriers(records), Used(choices=True, cost=2)]
    return tuple(uses) if pc is None else (*uses, Used(pc, cost=2))


def _barriers(records: npt.NDArray[Any]) -> Iterator[Used]:
    """Those since the last store."""
    stores = np.flatnonzero(records["kind"] == TraceKind.STORE)
    behind = records[int(stores[-1]) if len(stores) else 0 :]
    found = behind["pc"][are_of(behind, (TraceKind.DSB, TraceKind.ISB))].tolist()
    return (Used(int(at), itself=True) for at in dict.fromkeys(found[::-1]))


def instruction(record: Record, pc: int | None) -> str:
    """The instruction at ``pc`` as text, in backquotes."""
    word = None if pc is None else _code(record).word(pc)
    return "the code" if word is None or pc is None else f"`{disassemble(word, pc)}`"


def placed(record: Record, pc: int) -> str:
    """``pc`` in hex and what it is called."""
    place = _code(record).places.get(pc)
    return f"{pc:#x}, {place}" if place else f"{pc:#x}"


def by(record: Record, did: str, lapse: Located) -> Iterator[str]:
    """A note for each instruction that takes part."""
    for pc, size in list(lapse.others.items())[:MAX_NOTES]:
        if not pc:
            continue
        amount = f"{size:,} bytes " if size else ""
        yield f"{amount}{did} {instruction(record, pc)} at {placed(record, pc)}"


def owners(record: Record, lapse: Located) -> Iterator[str]:
    """A note for each piece of memory, the first of an owner."""
    seen: set[str] = set()
    for pa, size in lapse.spans:
        at = bisect_right(record.regions, pa, key=lambda region: region.base) - 1
        owned = at >= 0 and pa in record.regions[at]
        who = str(record.regions[at].owner) if owned else "memory that nobody owns"
        if who in seen or len(seen) == MAX_NOTES:
            continue
        seen.add(who)
        yield f"PA {pa:#x}..{pa + size:#x} belongs to {who}"


def amount(lapse: Located) -> str:
    """How much, how often and where it begins."""
    times = f" in {lapse.times:,} places" if lapse.times > 1 else ""
    return f"{lapse.size:,} bytes{times}, the first at PA {lapse.spans[0][0]:#x}"


def pattern(missed: npt.NDArray[np.bool_], line: int) -> str | None:
    """Which lines of a segment it is, if that can be said: ``bytes 64-127 of every 128``."""
    if missed.all():
        return "all of it"
    if len(missed) > 1 and missed[-1] and not missed[:-1].any():
        return "its last line"
    for period in _PERIODS:
        count = period // line
        if count < 2 or len(missed) < 2 * count:
            continue
        whole = len(missed) // count * count
        turns = missed[:whole].reshape(-1, count)
        if (turns == turns[0]).all() and (missed[whole:] == turns[0][: len(missed) - whole]).all():
            return _of_every(turns[0], line, period)
    return None


def _of_every(turn: npt.NDArray[np.bool_], line: int, period: int) -> str:
    chosen = np.flatnonzero(turn)
    first, last = int(chosen[0]), int(chosen[-1])
    if len(chosen) == 1 and last == len(turn) - 1 and period >= 4096:
        return f"the last line of every {period:,} bytes"
    if len(chosen) == last - first + 1:
        return f"bytes {first * line}-{(last + 1) * line - 1} of every {period:,}"
    return f"{len(chosen)} lines of every {period:,} bytes"


def bounded(found: Iterable[Broken]) -> Iterator[Broken]:
    """The first MAX_TOLD of ``found``, and how many more there are."""
    more = 0
    for number, broken in enumerate(found):
        if number < MAX_TOLD:
            yield broken
        else:
            more += 1
    if more:
        yield Broken(f"and at {more:,} more instructions")


def _code(record: Record) -> CodeSeen:
    return known(record.code)
