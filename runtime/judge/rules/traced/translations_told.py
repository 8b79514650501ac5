"""What rules on TLBs and on tables share: the trace followed once, and what it finds told."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from weakref import ReferenceType, ref

from relokit.runtime.arch import descriptors as d
from relokit.runtime.judge.model.tlb.tlb_contents import Clash, Held, Tlb, Why
from relokit.runtime.judge.model.tlb.tlb_uses import StaleUse, TableStore, table_stores, uses
from relokit.runtime.judge.rules.disassembly import listing
from relokit.runtime.judge.rules.profile import Guarantee
from relokit.runtime.judge.rules.rule import Broken
from relokit.runtime.judge.rules.traced.lapses_told import instruction
from relokit.runtime.record.known import UnknownFactError, known
from relokit.runtime.record.record import Record
from relokit.runtime.record.tables import Leaves
from relokit.runtime.record.trace import Trace

MAX_SHOWN = 64
"""Bytes of code that are shown before an instruction: a switch of tables has some ten words."""
_WORD = 4
ADDED = {
    Why.REGIME: "it is for another translation regime",
    Why.ASID: "it leaves global entries, which a kernel's are",
    Why.LAST_LEVEL: "it leaves what is held of the tables above the last level",
    Why.OPERAND: "its operand names nothing of it",
}


class Followed:
    """A Tlb and what else a trace does with translations."""

    def __init__(self, record: Record) -> None:
        self.tlb = Tlb(known(record.trace), known(record.tables))
        self.uses: tuple[StaleUse, ...] = tuple(uses(self.tlb))
        self.stores: tuple[TableStore, ...] = tuple(table_stores(self.tlb))


_last: tuple[ReferenceType[Trace], object, Followed] | None = None


def followed(record: Record) -> Followed:
    """The TLBs over ``record``; followed once, whatever number of rules asks."""
    global _last
    trace = known(record.trace)
    if _last is None or _last[0]() is not trace or _last[1] is not record.tables:
        _last = ref(trace), record.tables, Followed(record)
    return _last[2]


def certain(record: Record) -> None:
    """Raises UnknownFactError if the trace has a gap, or tables are not known."""
    trace = known(record.trace)
    if trace.full_at is not None:
        raise UnknownFactError(
            f"there was no more room in the trace after {trace.full_at:,} instructions"
        )
    unknown = followed(record).tlb.unknown
    if unknown:
        raise UnknownFactError(unknown[0].why)


def clashes(record: Record, *whys: Why) -> Iterator[Clash]:
    """Those for one of ``whys``."""
    return (one for one in followed(record).tlb.clashes if one.why in whys)


def stale_uses(record: Record, *whys: Why) -> Iterator[StaleUse]:
    """Those for one of ``whys``."""
    return (one for one in followed(record).uses if one.why in whys)


def at(
    record: Record,
    number: int,
    message: str,
    notes: Iterator[str] | tuple[str, ...] = (),
    *,
    first: int | None = None,
    spared_by: frozenset[Guarantee] = frozenset(),
) -> Broken:
    """A finding at the instruction that is record ``number``, shown from VA ``first`` on."""
    pc = pc_of(record, number)
    code = known(record.code)
    words = code.around(pc)
    if first is not None and 0 < pc - first <= MAX_SHOWN:
        addresses = range(first, pc + 2 * _WORD, _WORD)
        words = tuple(code.words[one] for one in addresses if one in code.words)
    return Broken(
        message,
        address=pc,
        place=code.places.get(pc),
        listing=listing(words, pc),
        notes=tuple(notes),
        spared_by=spared_by,
    )


def pc_of(record: Record, number: int) -> int:
    """The VA of the instruction that is record ``number``."""
    return int(known(record.trace).records["pc"][number])


def text(record: Record, number: int) -> str:
    """The instruction that is record ``number``, in backquotes."""
    return instruction(record, pc_of(record, number))


def placed(record: Record, number: int) -> str:
    """The same, and where it is."""
    pc = pc_of(record, number)
    place = known(record.code).places.get(pc)
    return f"{instruction(record, pc)} at {pc:#x}" + (f", {place}" if place else "")


def register(held: Held) -> str:
    """The TTBR that the tables of ``held`` are in."""
    return f"TTBR{int(held.view.upper)}_EL{held.view.level}"


def tables(record: Record, held: Held) -> str:
    """Which tables those of ``held`` are."""
    if held.tables is None:
        if not held.register:
            return f"whatever was held for EL{held.view.level} before its MMU was on"
        return "the old kernel's user space, of which nothing is known"
    root = held.tables.key.root
    return f"the tables at PA {root:#x} ({owner(record, root)})"


def owner(record: Record, pa: int) -> str:
    """Who owns the page at ``pa``."""
    number = bisect_right(record.regions, pa, key=lambda region: region.base) - 1
    if number >= 0 and pa in record.regions[number]:
        return str(record.regions[number].owner)
    return "memory that nobody owns"


def leads(leaves: Leaves | None, va: int) -> str:
    """What ``leaves`` make of ``va``."""
    if leaves is None:
        return "nothing"
    words = [
        "read-only" if leaves.bits & d.AP_READ_ONLY else "writable",
        "page" if leaves.level == 3 else f"block of level {leaves.level}",
    ]
    return f"PA {leaves.pa + va - leaves.va:#x}, a {' '.join(words)}"


def history(record: Record, held: Held, until: int) -> Iterator[str]:
    """Notes: since when ``held`` may be held, and what took it out of force by record ``until``."""
    if not held.register:
        return
    name = register(held)
    since = held.cause
    if since is None:
        yield f"{tables(record, held)} were in {name} before machine_kexec began"
    else:
        yield f"{tables(record, held)} came into {name} by {placed(record, since)}"
    if 0 <= held.replaced <= until:
        yield f"and left it by {placed(record, held.replaced)}"


def weak_barrier(record: Record, clash_or_use: Clash | StaleUse, before: int) -> int | None:
    """The number of a DSB that completes nothing, between the invalidation and ``before``."""
    attempt = clash_or_use.attempt
    if attempt is None or attempt.by.weak is None or attempt.by.weak >= before:
        return None
    return attempt.by.weak
