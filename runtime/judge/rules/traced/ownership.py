"""own.*: whose memory the move reads, executes and fills, from the jump to the hand-over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from weakref import ReferenceType, ref

from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.model.spans import Spans
from relokit.runtime.judge.model.trespass import Trespass, Trespasses, TrespassKind
from relokit.runtime.judge.model.trespassing import PREPARED, Way, entered, trespasses_of
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.rule import Broken, Check, Rule, always, before_the_jump
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.stores import stores_beside, where_nothing_is_stored
from relokit.runtime.judge.rules.traced.lapses_told import (
    amount,
    ask_whole,
    by,
    instruction,
    owners,
    told_at,
    used_by,
)
from relokit.runtime.record.claims import Claim, Ownership
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record
from relokit.runtime.record.stations import StationRole
from relokit.runtime.record.trace import Trace

KEXEC_CORE = "kernel/kexec_core.c: "
_last: tuple[ReferenceType[Trace], object, Trespasses] | None = None


def trespasses(record: Record, *kinds: TrespassKind) -> Iterator[Trespass]:
    """Those of ``kinds``; raises UnknownFactError behind them if the trace has a gap."""
    global _last
    trace, facts = known(record.trace), known(record.ownership)
    asked = facts, record.regions, record.jump, record.promises, record.reached
    if _last is None or _last[0]() is not trace or _last[1] != asked:
        way = _way(record, trace)
        _last = ref(trace), asked, trespasses_of(trace, facts, record.regions, way)
    yield from _last[2].of(kinds)
    ask_whole(trace)


def _way(record: Record, trace: Trace) -> Way:
    begin = end = len(trace.records)
    resumes = any(one.role is StationRole.RESUMED for one in record.promises)
    first = record.promises[0]
    if first.role is StationRole.PURGATORY and record.reached:
        # What a purgatory that was loaded in place does is not the old kernel's, either.
        begin = end = entered(trace, known(first.pc))
    if record.jump is not None:
        begin = entered(trace, known(record.jump).cpu.pc)
    # A trace that was full before does not have all that was stored until then.
    handed_over = bool(record.reached) and record.jump is not None and trace.full_at is None
    return Way(begin, end, handed_over, resumes)


def _each(kind: TrespassKind, tell: Callable[[Record, Trespass], Broken]) -> Check:
    return lambda record: (tell(record, one) for one in trespasses(record, kind))


def _moves(record: Record) -> str | None:
    return "nothing is moved" if record.jump is None else None


def _fills(record: Record) -> str | None:
    if record.jump is not None and isinstance(record.ownership, Ownership):
        return None if record.ownership.filled else "every segment is where it belongs"
    return _moves(record)


def _store(record: Record, one: Trespass) -> Broken:
    broken = told_at(
        record,
        f"{instruction(record, one.pc)} stores to what is not to be filled: {amount(one)}",
        one.pc,
        notes=owners(record, one),
    )
    # What caches have of memory that was never to be stored to comes of that.
    return replace(broken, uses=used_by(record, one), explains=True)


def _source(record: Record, one: Trespass) -> Broken:
    return told_at(
        record,
        f"{instruction(record, one.pc)} stores to a source page that is still to come: "
        f"{amount(one)}",
        one.pc,
        notes=(*owners(record, one), *by(record, "read later by", one)),
    )


def _read(record: Record, one: Trespass) -> Broken:
    return told_at(
        record,
        f"{instruction(record, one.pc)} reads what the move has overwritten: {amount(one)}",
        one.pc,
        notes=(*owners(record, one), *by(record, "stored before by", one)),
    )


def _past_end(record: Record, one: Trespass) -> Broken:
    return told_at(
        record,
        f"{instruction(record, one.pc)} reads the list's page behind its end: {amount(one)}",
        one.pc,
        notes=owners(record, one),
    )


def _stray_read(record: Record, one: Trespass) -> Broken:
    return told_at(
        record,
        f"{instruction(record, one.pc)} reads memory that may be a destination by then: "
        f"{amount(one)}",
        one.pc,
        notes=owners(record, one),
    )


def _fetch(record: Record, one: Trespass) -> Broken:
    return told_at(
        record,
        f"{instruction(record, one.pc)} is executed where the move has stored: {amount(one)}",
        one.pc,
        notes=(*owners(record, one), *by(record, "stored before by", one)),
    )


def _tables(record: Record) -> Iterator[Broken]:
    for one in trespasses(record, TrespassKind.TABLES, TrespassKind.UNFILLED):
        unfilled = one.kind is TrespassKind.UNFILLED
        broken = told_at(
            record,
            f"{instruction(record, one.pc)} has {one.register} lead to tables that the move has "
            f"{'not filled in yet' if unfilled else 'overwritten'}: {amount(one)}",
            one.pc,
            notes=(*owners(record, one), *by(record, "stored before by", one)),
        )
        # Where nothing is mapped yet, that is why the next access faults.
        yield replace(broken, cause=_TOO_EARLY, explains=True) if unfilled else broken


_TOO_EARLY = "TTBR1 has the resumed kernel's tables, where the copy of the linear map should be"


def _unwritten(record: Record, one: Trespass) -> Broken:
    names = [
        segment.name
        for segment in record.segments
        if any(
            at + size > segment.base and at < _end(record, segment.base, segment.size)
            for at, size in one.spans
        )
    ]
    what = " and ".join(names) or "the resumed kernel's pages"
    # Tables are put to use before.
    how = "handed over" if record.reached else "put into a TTBR"
    broken = told_at(
        record,
        f"{what}: {how} with bytes that nobody has written: {amount(one)}",
        one.pc,
        notes=by(record, "stored by", one),
    )
    broken = replace(broken, explains=not record.reached)
    if one.pc is None:
        return replace(broken, uses=where_nothing_is_stored(record))
    # What is missing between is another's turn.
    beside = tuple(Used(at, (), itself=True) for at in stores_beside(record, one.pc))
    return replace(broken, uses=(*beside, Used(one.pc)))


def _end(record: Record, base: int, size: int) -> int:
    page = known(record.ownership).page_size
    return base + -(-size // page) * page


def _order(record: Record) -> Iterator[Broken]:
    """Whether a page of the list is overwritten before its turn, by the list alone."""
    import numpy as np

    facts = known(record.ownership)
    sources = np.frombuffer(facts.sources, "<u8")
    targets = np.frombuffer(facts.targets, "<u8")
    ordered = np.argsort(targets, kind="stable")
    if not len(targets):
        return
    at = np.minimum(np.searchsorted(targets[ordered], sources), len(targets) - 1)
    filled = ordered[at]
    lost = (targets[filled] == sources) & (filled < np.arange(len(sources)))
    if lost.any():
        page = int(lost.argmax())
        yield Broken(
            f"page {page} of the list comes from PA {int(sources[page]):#x}, where page "
            f"{int(filled[page])} has gone by then ({int(lost.sum())} such pages)",
            address=int(sources[page]),
        )


def _safe(record: Record) -> Iterator[Broken]:
    """Whether what the move needs lies in what it fills."""
    filled = Spans(known(record.ownership).filled)
    for region in record.regions:
        needed = region.owner.kind in PREPARED - {OwnerKind.SOURCES}
        if needed and filled.touches(region.base, region.end):
            yield Broken(f"{region} lies in what the move fills", address=region.base)


def _claimed(*claims: Claim) -> Check:
    def check(record: Record) -> Iterator[Broken]:
        facts = known(record.ownership)
        segments = Spans((*facts.filled, *facts.kept))
        for one in known(facts.claims):
            if one.by in claims and segments.touches(one.start, one.end):
                yield Broken(
                    f"PA {one.start:#x}..{one.end:#x} is {one.by.value}, and a segment's as well",
                    address=one.start,
                )

    return check


def _has_facts(record: Record) -> str | None:
    if isinstance(record.ownership, Ownership) and not record.ownership.targets:
        return "there is no list: every segment is where it belongs"
    return None


E = Severity.ERROR
OWNERSHIP = (
    Rule(
        "own.store",
        "the move stores to its destinations and nowhere else, nobody to what is prepared for it",
        KEXEC_CORE + "kimage_alloc_control_pages; a crash kernel's image is loaded in place",
        E,
        always,
        _each(TrespassKind.STORE, _store),
        "a wrong address, a copy that goes on too long, or a destination entry that is wrong",
        consequence="what the move or the new kernel still needs is lost, or a crash's evidence is",
        hint="a page is stored to from its destination entry on, one page for each source entry",
    ),
    Rule(
        "own.source",
        "nothing is stored to a source page before it is copied",
        KEXEC_CORE + "kimage_alloc_page",
        E,
        _moves,
        _each(TrespassKind.SOURCE, _source),
        "a copy that goes on too long, into the next destination, where a source is still to come",
        consequence="the new kernel gets a page that is another one, or half of one",
    ),
    Rule(
        "own.read",
        "nothing is read that the move has overwritten",
        KEXEC_CORE + "struct kimage is ordinary memory, and may lie in a destination",
        E,
        _moves,
        _each(TrespassKind.READ, _read),
        "it is meant as it was at the jump: all that is needed is read before the first copy",
        consequence="an address, a level or a flag is what the new kernel happens to have there",
        hint="load every field of kimage into a register before the copy",
    ),
    Rule(
        "own.list",
        "the list is read up to IND_DONE and no further",
        "include/linux/kexec.h: IND_DONE; list pages are not cleared",
        E,
        _moves,
        _each(TrespassKind.PAST_END, _past_end),
        "the test of IND_DONE: of another bit, of another entry, or with its branch the wrong way",
        consequence="what lies behind is taken for entries, and pages are copied to wherever",
    ),
    Rule(
        "own.stray-read",
        "once a page is copied, nothing is read but kimage, the list, its sources and the move's "
        "own code",
        KEXEC_CORE + "any other memory may lie in a destination",
        E,
        _moves,
        _each(TrespassKind.STRAY_READ, _stray_read),
        "a wrong address, or data of the old kernel's",
        consequence="what is read is the old kernel's on this machine, the new one's on the next",
    ),
    Rule(
        "own.code",
        "nothing is executed where the move has stored, until it is handed over",
        KEXEC_CORE + "the code runs from the control page, the EL2 vectors from theirs",
        E,
        _moves,
        _each(TrespassKind.FETCH, _fetch),
        "a branch or a vector that still leads into the old kernel, whose place is a destination",
        consequence="the CPU executes whatever the new kernel has there",
    ),
    Rule(
        "own.tables",
        "tables are put to use neither once the move has overwritten them nor before it has filled "
        "them in",
        "ARM DDI 0487, D8.16: a walk may happen at any time; the old kernel's tables may lie "
        "in a destination",
        E,
        _moves,
        _tables,
        "TTBR0 or TTBR1 goes back to tables of the old kernel's after the copy",
        consequence="any access may go anywhere",
    ),
    Rule(
        "own.unwritten",
        "every byte of every destination is written before it is handed over",
        KEXEC_CORE + "kimage_load_normal_segment: whole pages, zeros behind the content",
        E,
        _fills,
        _each(TrespassKind.UNWRITTEN, _unwritten),
        "a page that was left out, or a copy that ends too early",
        consequence="the new kernel finds what the old one had there",
    ),
    Rule(
        "own.order",
        "no source page lies where an earlier page of the list goes",
        KEXEC_CORE + "kimage_alloc_page",
        E,
        _has_facts,
        before_the_jump(_order),
        "the source is a destination that is not its own",
        consequence="that page is overwritten before it is copied",
    ),
    Rule(
        "own.safe",
        "control page, list, EL2 vectors and the tables of the move lie in no destination",
        KEXEC_CORE + "kimage_alloc_control_pages, KIMAGE_NO_DEST",
        E,
        always,
        before_the_jump(_safe),
        "they were allocated like any other memory",
        consequence="the move overwrites itself",
    ),
    Rule(
        "own.reserved",
        "no segment lies in what the device tree reserves or an earlier kernel has preserved",
        "Documentation/arch/arm64/booting.rst; Documentation/core-api/kho/concepts.rst",
        E,
        always,
        _claimed(Claim.RESERVED, Claim.PRESERVED),
        "a segment was placed by somebody who did not look",
        consequence="firmware, a spin table or preserved data is overwritten",
    ),
    Rule(
        "own.others",
        "no segment lies where another CPU executes or a device writes",
        "Documentation/arch/arm64/booting.rst: CPUs without PSCI stay in pens outside of memory "
        "given to the kernel; DMA is quiesced",
        E,
        always,
        _claimed(Claim.EXECUTED, Claim.WRITTEN),
        "a CPU that was not taken offline, or a device that was not stopped",
        consequence="it executes the new kernel's data, or overwrites it",
    ),
)
