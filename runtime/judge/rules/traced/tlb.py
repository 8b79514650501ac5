"""TLBs: what is invalidated, by which instruction, and when that is certain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from relokit.codegen.system_registers import REGISTERS
from relokit.runtime.arch.geometry import CPU_BITS, GRANULES
from relokit.runtime.arch.translation import root_size, unaligned_bits
from relokit.runtime.judge.model.tables_in_force import TABLES
from relokit.runtime.judge.model.tlb.invalidation import Broadcast
from relokit.runtime.judge.model.tlb.tlb_contents import Clash, Why
from relokit.runtime.judge.model.tlb.tlb_uses import StaleUse
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.profile import Guarantee
from relokit.runtime.judge.rules.rule import Broken, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.stores import stored_there
from relokit.runtime.judge.rules.traced.break_before_make import clash_notes, spared, where
from relokit.runtime.judge.rules.traced.translations_told import (
    ADDED,
    at,
    certain,
    clashes,
    followed,
    history,
    leads,
    placed,
    register,
    stale_uses,
    tables,
    text,
    weak_barrier,
)
from relokit.runtime.record.known import Unknown, known
from relokit.runtime.record.record import Record
from relokit.runtime.record.trace import TraceKind

_ARM = "ARM DDI 0487, "
_CNP = 1 << 0
_BY_ETS = frozenset({Guarantee.ETS2})
_HALF = np.uint64(1 << 55)
_TTBRS = {
    REGISTERS[f"TTBR{number}_EL{level}"]: f"TTBR{number}_EL{level}"
    for number in (0, 1)
    for level in (1, 2)
}


def _attempted(record: Record, clash: Clash, says: str, number: int | None = None) -> Broken:
    """A clash that a TLBI should have prevented, at that."""
    assert clash.attempt is not None
    by = clash.attempt.by.number if number is None else number
    return at(
        record,
        by,
        f"{text(record, by)} {says}: {placed(record, clash.cause)} then puts "
        f"{tables(record, clash.new)} in force while a TLB may hold {tables(record, clash.old)}; "
        f"{where(clash)}",
        tuple(clash_notes(record, clash)),
        spared_by=spared(clash),
    )


def _used(record: Record, use: StaleUse, says: str, number: int) -> Broken:
    return at(
        record,
        number,
        f"{text(record, number)} {says}: {placed(record, use.number)} may go by "
        f"{tables(record, use.held)}; VA {use.va:#x}",
        tuple(_use_notes(record, use)),
        spared_by=_BY_ETS if _is_late(record, use) else frozenset(),
    )


def _is_late(record: Record, use: StaleUse) -> bool:
    """Whether only the context synchronisation behind a DSB is missing, and for no fetch."""
    fetched = known(record.trace).records["kind"][use.number] == TraceKind.FETCH
    return use.why is Why.UNSYNCHRONISED and not fetched


def _use_notes(record: Record, use: StaleUse) -> Iterator[str]:
    yield from history(record, use.held, use.number)
    yield f"VA {use.va:#x} was {leads(use.leaves, use.va)}, and is now {leads(use.now, use.va)}"


def _by(record: Record, *whys: Why, says: str | None = None) -> Iterator[Broken]:
    """What an attempt of ``whys`` has left, at the TLBI."""
    for clash in clashes(record, *whys):
        yield _attempted(record, clash, says or f"does not end it, {ADDED[clash.why]}")
    for use in stale_uses(record, *whys):
        assert use.attempt is not None
        how = says or f"does not end it, {ADDED[use.why]}"
        yield _used(record, use, how, use.attempt.by.number)
    certain(record)


def _scope(record: Record) -> Iterator[Broken]:
    return _by(record, Why.REGIME, Why.ASID, Why.LAST_LEVEL)


def _operand(record: Record) -> Iterator[Broken]:
    return _by(record, Why.OPERAND)


def _synchronised(record: Record) -> Iterator[Broken]:
    early = "is executed before what takes the old tables out of force is certain to be seen"
    yield from _by(record, Why.EARLY, says=early)
    for use in stale_uses(record, Why.UNSYNCHRONISED):
        assert use.attempt is not None
        late = "and its DSB are followed by no context synchronisation before what relies on them"
        yield _used(record, use, late, use.attempt.by.number)


def _completion(record: Record) -> Iterator[Broken]:
    for clash in clashes(record, Why.UNCOMPLETED):
        weak = weak_barrier(record, clash, clash.cause)
        says = "is not complete" if weak is None else "completes no TLBI"
        yield _attempted(record, clash, says, weak)
    for use in stale_uses(record, Why.UNCOMPLETED):
        assert use.attempt is not None
        weak = weak_barrier(record, use, use.number)
        says = "is not complete" if weak is None else "completes no TLBI"
        yield _used(record, use, says, use.attempt.by.number if weak is None else weak)
    certain(record)


def _stale(record: Record) -> Iterator[Broken]:
    for use in stale_uses(record, Why.NOTHING):
        yield _used(record, use, "may go by a translation that was replaced", use.number)
    certain(record)


def _legality(record: Record) -> Iterator[Broken]:
    for one in followed(record).tlb.invalidations:
        if one.illegal:
            yield at(
                record,
                one.number,
                f"{text(record, one.number)} is executed at EL{one.el}: {one.illegal}",
            )


def _domain(record: Record) -> Iterator[Broken]:
    for one in followed(record).tlb.invalidations:
        done = one.completion
        if done is not None and not done.wide:
            how = "without waiting for accesses that have the XS attribute"
            if not done.fast:
                how = "for this CPU only"
            yield at(
                record,
                done.number,
                f"{text(record, done.number)} completes `{one.name}` {how}",
                (placed(record, one.number),),
            )
    certain(record)


def _root(record: Record) -> Iterator[Broken]:
    """Where a TTBR leads to, and CnP."""
    told = set()
    for held in followed(record).tlb.held:
        if held.tables is None or held.tables.missing is None or held.cause is None:
            continue
        if held.register.startswith("TTBR") and held.cause not in told:
            told.add(held.cause)
            broken = at(
                record,
                held.cause,
                f"{text(record, held.cause)} puts {tables(record, held)} into {register(held)}, "
                f"which lead to PA {held.tables.missing:#x}: no RAM is there",
            )
            stored = stored_there(record, ((at, end - at) for at, end in held.tables.pages))
            mine = Used(broken.address, cost=2 if stored else 0)
            yield replace(broken, uses=(*stored, mine))
    trace = known(record.trace)
    for held in followed(record).tlb.held:
        if held.cause is None or held.tables is None or held.cause in told:
            continue
        if held.register.startswith("TTBR") and not _are_tables(record, held.tables.key.root):
            told.add(held.cause)
            yield at(
                record,
                held.cause,
                f"{text(record, held.cause)} puts {tables(record, held)} into {register(held)}: "
                "that is no table, whatever a walk finds there",
            )
            continue
        value, key = int(trace.records["value"][held.cause]), held.tables.key
        size = root_size(GRANULES[key.page_size], key.va_bits)
        unaligned = unaligned_bits(value, size, folded=key.wide or key.pa_bits > CPU_BITS)
        if held.register.startswith("TTBR") and unaligned:
            told.add(held.cause)
            yield at(
                record,
                held.cause,
                f"{text(record, held.cause)} puts {value:#x} into {register(held)}, and bits "
                f"{unaligned:#x} of it are below the alignment of its first table: a walk may "
                "take them for part of the address",
            )
    if not any(trace.start.get(name, 0) & _CNP for name in _TTBRS.values()):
        writes = np.flatnonzero(trace.kinds == TraceKind.MSR)
        values = trace.records["value"][writes] & np.uint64(_CNP) != 0
        writes = writes[values & np.isin(trace.records["encoding"][writes], list(_TTBRS))]
        for number in writes.tolist():
            if number not in told:
                value = int(trace.records["value"][number])
                yield at(
                    record,
                    number,
                    f"{text(record, number)} sets CnP by the value {value:#x}: other CPUs are "
                    "taken to have the same tables, and no value before it had that",
                )
                break
    certain(record)


def _are_tables(record: Record, root: int) -> bool:
    """Whether somebody has tables at PA ``root``; so where it is not known who owns what."""
    if isinstance(record.ownership, Unknown):
        return True
    return any(region.owner.kind in TABLES for region in record.regions if root in region)


def _thunderx2(record: Record) -> Iterator[Broken]:
    """Accesses by the other TTBR between an MSR of one and its ISB; context.* has those by this."""
    tlb = followed(record).tlb
    records = tlb.trace.records
    for held in tlb.held:
        if held.cause is None or held.register != f"TTBR{held.view.upper:d}":
            continue
        between = records[held.begin : min(tlb.views.next_step(held.begin), len(records))]
        access = np.isin(between["kind"], [int(TraceKind.LOAD), int(TraceKind.STORE)])
        found = np.flatnonzero(access & ((between["va"] & _HALF != 0) != held.view.upper))
        if len(found):
            number = held.begin + int(found[0])
            yield at(
                record,
                number,
                f"{text(record, number)} accesses memory between a write of {register(held)} and "
                "its ISB",
                (placed(record, held.cause),),
            )


def _repeat(record: Record) -> Iterator[Broken]:
    """Broadcast invalidations that no second one follows."""
    all_of_them = followed(record).tlb.invalidations
    for number, one in enumerate(all_of_them):
        if one.form is Broadcast.LOCAL:
            continue
        beside = all_of_them[max(0, number - 1) : number + 2]
        if sum(other.name == one.name for other in beside) < 2:
            yield at(record, one.number, f"{text(record, one.number)} and its DSB come once")


def _falkor(record: Record) -> Iterator[Broken]:
    """Writes of a TTBR that change ASID and tables at once."""
    held = followed(record).tlb.held
    for new in held:
        if new.cause is None or new.register != f"TTBR{new.view.upper:d}":
            continue
        for old in held:
            beside = (old.view.level, old.view.upper) == (new.view.level, new.view.upper)
            known_before = old.replaced == new.cause and old.view.tables is not None
            both = old.view.asid != new.view.asid and old.view.tables != new.view.tables
            if beside and known_before and both:
                yield at(
                    record,
                    new.cause,
                    f"{text(record, new.cause)} changes the ASID from {old.view.asid:#x} to "
                    f"{new.view.asid:#x}, and the tables as well",
                )


TLB = (
    Rule(
        "tlb.scope",
        "the TLBI behind a switch of tables is for that regime, for global entries too, and for "
        "all levels",
        _ARM + "D8.17.5: TLB maintenance instructions",
        Severity.ERROR,
        always,
        _scope,
        "vmalle1 ends all of the current regime; aside1 leaves global entries, vale1 tables, alle2 "
        "is EL2's",
        consequence="the old translation may still be used once the new tables are in force: a "
        "conflict abort, a permission fault, or the old page",
        hint="msr ttbr1_el1, EMPTY; isb; tlbi vmalle1; dsb nsh; msr ttbr1_el1, NEW; isb",
    ),
    Rule(
        "tlb.operand",
        "the operand of a TLBI names what is to be invalidated: VA[55:12] whatever the granule, "
        "the ASID, the level",
        _ARM + "D8.17.5: operands (IZVNJG, RSQXYZ, RXKMMX)",
        Severity.ERROR,
        always,
        _operand,
        "the VA was not shifted by 12, or by the page size; TTL, TG or ASID are another's",
        consequence="the old translation may still be used once the new tables are in force: a "
        "conflict abort, a permission fault, or the old page",
        hint="bits 43:0 of the operand are VA[55:12] for pages of any size; or invalidate all: "
        "tlbi vmalle1",
    ),
    Rule(
        "tlb.synchronised",
        "a TLBI comes after the context synchronisation behind the MSR that replaced the tables, "
        "and another follows its DSB before anything relies on it",
        _ARM + "D8.16 (RVNRFW), D24.1.2.2, D8.17.6 (RBLDZX)",
        Severity.ERROR,
        always,
        _synchronised,
        "no ISB between MSR and TLBI: a walk by the old value may fill the TLB again",
        consequence="the TLB may be filled again from the old tables, behind the TLBI",
        hint="msr ttbr1_el1, EMPTY; isb; tlbi vmalle1; dsb nsh; msr ttbr1_el1, NEW; isb",
    ),
    Rule(
        "tlb.completion",
        "a TLBI is completed by a DSB for loads and stores before new tables are in force",
        _ARM + "D8.17.6: completion (RPSMWS)",
        Severity.ERROR,
        always,
        _completion,
        "a DSB is missing behind the TLBI, or it is one for loads (ld) or stores (st) only",
        consequence="the old translation may still be used once the new tables are in force: a "
        "conflict abort, a permission fault, or the old page",
        hint="dsb nsh (ish behind a TLBI for all CPUs), for loads and stores, before the next MSR "
        "TTBR",
    ),
    Rule(
        "tlb.stale",
        "nothing is translated by what is no longer in force",
        _ARM + "D8.16: entries stay until they are invalidated",
        Severity.ERROR,
        always,
        _stale,
        "the tables were replaced, and no TLBI was executed since",
        consequence="the access may go to the old page, or fault",
        hint="a TLBI, its DSB and an ISB before it",
    ),
    Rule(
        "tlb.legality",
        "every TLBI is one that this CPU has at this exception level",
        _ARM + "D8.17.5 (ISRWLL, IYKBMJ, RTBLDD)",
        Severity.ERROR,
        always,
        _legality,
        "alle1, vmalls12e1 and all of EL2's are UNDEFINED at EL1",
        consequence="an undefined instruction exception",
        hint="tlbi vmalle1 at EL1; alle2, vae2 and alle1 at EL2",
    ),
    Rule(
        "tlb.root",
        "a TTBR leads to tables in RAM, by an address that is aligned as they are, and does not "
        "say by accident that CPUs share them",
        _ARM + "D8.16.3.4 (CnP), D8.2: walks may be made at any time; TTBR0_EL1.BADDR",
        Severity.ERROR,
        always,
        _root,
        "the value is no table's: a field of kimage mistaken, a PA that was not folded",
        consequence="a walk, which may be made at any time, reads whatever is there: an SError, "
        "or a device's registers",
        hint="the PA of the first table, whose bits 51:48 go to bits 5:2 with 52-bit addresses",
    ),
    Rule(
        "tlb.domain",
        "the DSB behind a TLBI is of the shareability domain of all CPUs that it is for, and waits "
        "for accesses with XS unless the TLBI is one that does not (nXS)",
        _ARM + "D8.17.6: completion (RPSMWS, IKFTWB)",
        Severity.WARNING,
        always,
        _domain,
        "dsb nsh completes it for this CPU, and kexec has no other",
        consequence="another CPU may use the old translation",
        hint="dsb ish behind an IS form, dsb sy behind an OS form; vmalle1 and dsb nsh where one "
        "CPU is left",
    ),
    Rule(
        "errata.thunderx2-219",
        "no load or store is between a write of TTBR and its ISB",
        "Linux, CAVIUM_TX2_ERRATUM_219",
        Severity.WARNING,
        always,
        _thunderx2,
        "ThunderX2 may take an abort there that nothing explains",
    ),
    Rule(
        "errata.repeat-tlbi",
        "a TLBI for other CPUs as well, with its DSB, is made twice",
        "Linux, ARM64_WORKAROUND_REPEAT_TLBI (Cortex-A55, A76, A510, Falkor)",
        Severity.NOTE,
        always,
        _repeat,
        "some CPUs complete the first one early; forms for this CPU only are not affected",
    ),
    Rule(
        "errata.e1003",
        "the ASID in a TTBR does not change together with the tables, but by way of a reserved one",
        "Linux, QCOM_FALKOR_ERRATUM_1003",
        Severity.NOTE,
        always,
        _falkor,
        "Falkor v1 may keep entries of the new tables under the old ASID",
    ),
)
