"""Break before make: live translations do not follow each other without a step between."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.judge.model.tlb.tlb_contents import Clash, Held, Tlb, Why
from relokit.runtime.judge.model.tlb.tlb_uses import Stored, TableStore
from relokit.runtime.judge.model.tlb.translations import Differs
from relokit.runtime.judge.rules.profile import Guarantee
from relokit.runtime.judge.rules.rule import Broken, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.traced.translations_told import (
    at,
    certain,
    clashes,
    followed,
    history,
    leads,
    owner,
    pc_of,
    register,
    tables,
    text,
)
from relokit.runtime.record.record import Record
from relokit.runtime.record.trace import TraceKind

_ARM = "ARM DDI 0487, "
_CONSEQUENCES = {
    Differs.ADDRESS: "what is read or written may be the old page",
    Differs.PERMISSION: "a store may take a permission fault by the old entry",
    Differs.TYPE: "an access may be of the old memory type",
    Differs.SIZE: "a TLB conflict abort is possible, or a mixture of both",
    Differs.GLOBAL: "a TLB conflict abort is possible, or a mixture of both",
    Differs.CONTROL: "an entry may be used as the old values have it",
}


def where(clash: Clash) -> str:
    """Which addresses ``clash`` is about, and what differs."""
    found = clash.where
    amount = f"VA {found.va:#x} and on, {found.size:,} bytes in all"
    if not found.what:
        return amount
    return f"{amount}: another {' and '.join(one.value for one in found.what)}"


def clash_notes(record: Record, clash: Clash) -> Iterator[str]:
    """What both are, and what may come of it."""
    yield from history(record, clash.old, clash.cause)
    found = clash.where
    if found.old is not None:
        yield f"VA {found.va:#x} was {leads(found.old, found.va)}"
    if found.new is not None:
        yield f"VA {found.va:#x} is now {leads(found.new, found.va)}"
    for what in found.what:
        yield _CONSEQUENCES[what]


def spared(clash: Clash) -> frozenset[Guarantee]:
    """Which CPUs ``clash`` does not harm: with BBML2 another size alone is no conflict."""
    sizes_only = clash.where.what == (Differs.SIZE,)
    return frozenset({Guarantee.BBML2}) if sizes_only else frozenset()


def _replaced(record: Record, clash: Clash) -> Broken:
    name = register(clash.new)
    if clash.why is Why.STEP:
        how = "which were in force up to there: no table that maps nothing comes between"
    else:
        how = "which no TLBI has ended since they left it"
    return at(
        record,
        clash.cause,
        f"{text(record, clash.cause)} puts {tables(record, clash.new)} into {name} while a TLB "
        f"may hold {tables(record, clash.old)}, {how}; {where(clash)}",
        tuple(clash_notes(record, clash)),
        first=_first_step(record, clash),
        spared_by=spared(clash),
    )


def _first_step(record: Record, clash: Clash) -> int | None:
    """The VA at which the switch begins: where the old tables went, or before the TLBI for it."""
    if clash.why is not Why.STEP:
        left = clash.old.replaced
        return pc_of(record, left) if 0 <= left < clash.cause else None
    before = [
        one.number
        for one in followed(record).tlb.invalidations
        if clash.old.begin <= one.number < clash.cause
    ]
    return pc_of(record, before[-1]) - 2 * 4 if before else None


def _switch(record: Record) -> Iterator[Broken]:
    steps = {held for held, _, _ in _filled(record)}
    for clash in clashes(record, Why.STEP, Why.NOTHING):
        ours = clash.new.register.startswith("TTBR")
        if ours and clash.old not in steps and clash.new not in steps:
            yield _replaced(record, clash)
    certain(record)


def _control(record: Record) -> Iterator[Broken]:
    for clash in clashes(record, Why.STEP, Why.NOTHING):
        name = clash.new.register
        if name.startswith("TTBR") or _enables(clash):
            continue
        level = clash.new.view.level
        yield at(
            record,
            clash.cause,
            f"{text(record, clash.cause)} changes {name}_EL{level} while a TLB may hold what was "
            f"translated by its old value: {tables(record, clash.old)}; {where(clash)}",
            tuple(clash_notes(record, clash)),
        )
    certain(record)


def _enable(record: Record) -> Iterator[Broken]:
    for clash in clashes(record, Why.STEP, Why.NOTHING):
        if _enables(clash):
            yield at(
                record,
                clash.cause,
                f"{text(record, clash.cause)} turns the MMU on while a TLB may hold "
                f"{tables(record, clash.old)}; {where(clash)}",
                tuple(clash_notes(record, clash)),
            )
    certain(record)


def _enables(clash: Clash) -> bool:
    """Whether the new one is in force because the MMU goes on."""
    return clash.new.register == "SCTLR" and clash.old.replaced != clash.cause


def _filled(record: Record) -> Iterator[tuple[Held, int, int]]:
    """Tables that map something and come between two others for a TLBI, and nothing else; the
    record of the MSR, and the PA of the first entry.
    """
    tlb = followed(record).tlb
    trace = tlb.trace
    accessed = trace.are((TraceKind.LOAD, TraceKind.STORE))
    invalidated = trace.kinds == TraceKind.TLBI
    for held, cause in _switched(tlb):
        if held.tables is None or not held.tables.entries:
            continue
        half = held.view.upper
        follows = any(
            other.view.upper == half and after == held.replaced for other, after in _switched(tlb)
        )
        between = slice(held.begin, held.replaced)
        if follows and invalidated[between].any() and not accessed[between].any():
            yield held, cause, held.tables.entries[0][0]


def _switched(tlb: Tlb) -> Iterator[tuple[Held, int]]:
    """What came into force by a write of its TTBR, and the record of that."""
    for held in tlb.held:
        if held.cause is not None and held.register == f"TTBR{held.view.upper:d}":
            yield held, held.cause


def _empty_table(record: Record) -> Iterator[Broken]:
    told = set()
    for held, cause, first in _filled(record):
        if first not in told:
            told.add(first)
            yield at(
                record,
                cause,
                f"{text(record, cause)} puts {tables(record, held)} into {register(held)} between "
                f"two others, and they are not empty: the first valid entry is at PA {first:#x}",
                tuple(history(record, held, cause)),
            )
    for store in _stored(record, Stored.EMPTY):
        yield _overwritten(record, store, "stores to a table without entries")
    certain(record)


def _stored(record: Record, *whats: Stored) -> Iterator[TableStore]:
    return (one for one in followed(record).stores if one.what in whats)


def _overwritten(record: Record, store: TableStore, does: str) -> Broken:
    return at(
        record,
        store.number,
        f"{text(record, store.number)} {does} that a walk may go through: PA {store.pa:#x} of "
        f"{tables(record, store.held)}",
        (
            *history(record, store.held, store.number),
            f"PA {store.pa:#x} belongs to {owner(record, store.pa)}",
        ),
    )


def _store(record: Record) -> Iterator[Broken]:
    for store in _stored(record, Stored.VALID):
        yield _overwritten(record, store, "changes valid entries of tables")
    for store in _stored(record, Stored.UNSEEN):
        yield _overwritten(
            record, store, "is completed by no DSB before its tables are in force: it fills entries"
        )
    certain(record)


BREAK_BEFORE_MAKE = (
    Rule(
        "bbm.switch",
        "between two live tables in a TTBR comes one that maps nothing, and an invalidation: never "
        "may a TLB hold both of two different translations",
        _ARM + "D8.17.1: break-before-make; series, patch 11",
        Severity.ERROR,
        always,
        _switch,
        "the write of the empty table, its ISB or the TLBI is missing, or comes too late",
        consequence="a TLB conflict abort, a permission fault by a stale read-only block, or the "
        "old page read and written; most machines get away with it as long as attributes agree",
        hint="msr ttbr1_el1, EMPTY; isb; tlbi vmalle1; dsb nsh; msr ttbr1_el1, NEW; isb",
    ),
    Rule(
        "bbm.empty-table",
        "the table that stands between two others maps nothing, for as long as it is in a TTBR",
        _ARM + "D8.17.1: break-before-make; series, patch 11",
        Severity.ERROR,
        always,
        _empty_table,
        "another page than the zero page, or something was stored to it",
        consequence="what it maps may be held by a TLB, beside what the new tables map",
        hint="msr ttbr1_el1, EMPTY; isb; tlbi vmalle1; dsb nsh; msr ttbr1_el1, NEW; isb",
    ),
    Rule(
        "bbm.control",
        "TCR, MAIR and SCTLR change only while a TLB holds nothing that was translated by their "
        "old values",
        _ARM + "D8.16: register fields that may be held in a TLB (RVNRFW)",
        Severity.ERROR,
        always,
        _control,
        "T0SZ, for one, may change while TTBR0 holds a table that maps nothing, and after a TLBI",
        consequence="an entry may be used as the old values have it: with another size, granule "
        "or output size",
        hint="put a table that maps nothing into the TTBR first: msr ttbr0_el1, EMPTY; isb; tlbi "
        "vmalle1; dsb nsh; isb; msr tcr_el1, NEW; isb",
    ),
    Rule(
        "bbm.store",
        "tables that a walk may go through are not overwritten, and what is stored to others is "
        "visible to walks before they are in a TTBR",
        _ARM + "D8.17.1, D8.2.6.1: a DSB behind the store",
        Severity.ERROR,
        always,
        _store,
        "a destination that overlaps tables still in a TTBR, or that a TLB still leads to",
        consequence="a walk, which may be made at any time, goes where the data says",
        hint="keep tables out of every destination; use a TTBR only until a copy of its tables "
        "elsewhere is in force",
    ),
    Rule(
        "tlb.enable",
        "where the MMU is turned on, a TLB holds nothing from before that differs",
        _ARM + "D8.16: entries are used again (RNDCMB)",
        Severity.ERROR,
        always,
        _enable,
        "no TLBI between the last use of this regime and SCTLR.M",
        consequence="what the TLB held before counts again",
        hint="tlbi vmalle1; dsb nsh; isb before SCTLR.M is set",
    ),
)
