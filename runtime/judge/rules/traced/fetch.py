"""Instruction fetch: code that was changed is fetched as it is now, and handed over so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from relokit.codegen.system_registers import OPERATIONS
from relokit.runtime.judge.model.caches.lapse import Lapse, LapseKind
from relokit.runtime.judge.model.synchronising import DSB_FULL, DSB_TYPE, Missing
from relokit.runtime.judge.rules.profile import Guarantee
from relokit.runtime.judge.rules.rule import Broken, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.traced.caches import ARM, each, hands_over
from relokit.runtime.judge.rules.traced.lapses_told import (
    amount,
    ask_whole,
    by,
    instruction,
    lapses,
    maintenance,
    segments,
    told,
    told_at,
)
from relokit.runtime.record.known import UnknownFactError, known
from relokit.runtime.record.record import Record
from relokit.runtime.record.stations import StationRole
from relokit.runtime.record.trace import TraceKind

NO_IC = frozenset({Guarantee.DIC})
"""What spares a CPU whose instruction cache nobody invalidates."""
CODE_PAGE = 4096
"""Bytes of code that are told of once."""
_NON_SHAREABLE = 1
"""The domain of a DSB, bits 3:2 of CRm, that is this CPU."""
_WHAT_IS_MISSING = {
    Missing.CLEAN: "{step} leaves lines that are not cleaned to the point of unification",
    Missing.DSB_BEFORE: "no DSB between {step} and an IC IALLU",
    Missing.IC: "no IC IALLU behind {step}",
    Missing.DSB_AFTER: "no DSB behind {step}",
    Missing.CONTEXT: "no ISB, exception or return behind {step}",
}


def _image(record: Record, lapse: Lapse) -> Iterator[Broken]:
    assert lapse.missing is not None
    text = _WHAT_IS_MISSING[lapse.missing].format(step=instruction(record, lapse.pc))
    broken = told(
        record,
        f"{segments(record, lapse)} may be fetched as what was there before: {text}; "
        f"{amount(lapse)}",
        lapse,
    )
    kind = TraceKind.DC if lapse.missing is Missing.CLEAN else TraceKind.IC
    broken = replace(broken, uses=maintenance(record, lapse.pc, kind))
    yield replace(broken, spared_by=NO_IC) if lapse.missing is Missing.IC else broken


def _code(record: Record) -> Iterator[Broken]:
    """Told at the first instruction of a page: what is stored in one place is many of them."""
    first: dict[tuple[LapseKind, int], Lapse] = {}
    more: dict[object, int] = defaultdict(int)
    kinds = LapseKind.FETCHED_OLD, LapseKind.FETCHED_DIRTY, LapseKind.FETCHED_HIDDEN
    try:
        for lapse in lapses(record, *kinds):
            cause = lapse.kind, lapse.spans[0][0] // CODE_PAGE
            if cause in first:
                more[cause] += 1
            else:
                first[cause] = lapse
    finally:
        # What was found before a fact was missing stays found.
        for group, lapse in first.items():
            yield from _fetched(record, lapse, more[group])


def _fetched(record: Record, lapse: Lapse, more: int) -> Iterator[Broken]:
    if lapse.kind is LapseKind.FETCHED_DIRTY:
        message = f"code is fetched from memory while a cache may hold it: {amount(lapse)}"
    elif lapse.kind is LapseKind.FETCHED_HIDDEN:
        message = (
            f"code is fetched through a cache that may hold what was there before it was stored "
            f"around the caches: {amount(lapse)}"
        )
    else:
        message = f"code is executed that may be fetched as it was: {amount(lapse)}"
    if more:
        message += f"; and {more:,} more times further on"
    yield told(record, message, lapse, notes=by(record, "stored by", lapse))


def _elsewhere(record: Record, lapse: Lapse) -> Iterator[Broken]:
    yield told(
        record,
        f"the I-cache was invalidated for code at another VA than it is executed at: "
        f"{amount(lapse)}",
        lapse,
        notes=by(record, "stored by", lapse),
    )


def _in_place(record: Record, lapse: Lapse) -> Iterator[Broken]:
    yield told(
        record,
        f"{segments(record, lapse)} was loaded where it is entered, and no I-cache was invalidated "
        f"on the way there: {amount(lapse)}",
        lapse,
    )


def _others(record: Record) -> Iterator[Broken]:
    """The CPUs that join a kernel that is resumed: clean, DSB, IC, DSB, each for all of them."""
    if not record.complete:
        raise UnknownFactError("the resumed kernel was never entered")
    trace = known(record.trace)
    rows = trace.of(TraceKind.DC, TraceKind.IC, TraceKind.DSB)
    steps = list(zip(*(rows[name].tolist() for name in ("kind", "encoding", "pc")), strict=True))
    cleaned = [at for at, step in enumerate(steps) if step[0] == TraceKind.DC]
    if cleaned:
        last = cleaned[-1]
        sent, waits = (
            [at for at in range(last, len(steps)) if _is_for_all(steps[at][0], steps[at][1], kind)]
            for kind in (TraceKind.IC, TraceKind.DSB)
        )
        if not any(first < ic < second for ic in sent for first in waits for second in waits):
            before = [at for at in waits if not sent or at < sent[-1]]
            kind = TraceKind.DSB if sent else TraceKind.IC
            start = sent[-1] if sent and before else last
            at = next((at for at in range(start, len(steps)) if steps[at][0] == kind), start)
            yield told_at(
                record,
                f"{instruction(record, steps[at][2])} is for this CPU only, and another may fetch "
                "what was there before from the pages that are resumed",
                steps[at][2],
            )
    ask_whole(trace)


def _is_for_all(kind: int, encoding: int, wanted: TraceKind) -> bool:
    if kind != wanted:
        return False
    if kind == TraceKind.IC:
        return encoding != OPERATIONS["ic iallu"]
    return encoding & DSB_TYPE == DSB_FULL and encoding >> 2 & 3 != _NON_SHAREABLE


def _resumes(record: Record) -> str | None:
    if any(promise.role is StationRole.RESUMED for promise in record.promises):
        return None
    return "no kernel is resumed that other CPUs join"


FETCH = (
    Rule(
        "fetch.image",
        "no instruction cache holds what was at the addresses of the new kernel, or of one that is "
        "resumed, before it: clean, DSB, IC, DSB, ISB, in this order",
        "Documentation/arch/arm64/booting.rst: no stale entries; " + ARM + "B2.7.4.2, D7.5.9.15",
        Severity.ERROR,
        always,
        each(LapseKind.OLD_CODE, tell=_image),
        "it was written, and the I-cache was not invalidated after that, or not for certain",
    ),
    Rule(
        "fetch.code",
        "code that was changed is cleaned, invalidated and synchronised before it is executed",
        ARM + "B2.7.4.2",
        Severity.ERROR,
        always,
        _code,
        "an instruction fetch does not look into the data cache, and not into the store buffer",
    ),
    Rule(
        "fetch.alias",
        "code is invalidated by address where it is executed, or the whole I-cache is",
        ARM + "D8.18.2.2: of a VIPT cache only IC IALLU reaches all aliases for certain",
        Severity.WARNING,
        always,
        each(LapseKind.FETCHED_ELSEWHERE, tell=_elsewhere),
        "IC IVAU went by the linear map's VA, and a copy of it runs at another, or at its PA",
        consequence="None on CPUs that are built: both VAs are equal modulo a way of the I-cache.",
        hint="ic ialluis, or ic ivau at the VA that is executed",
        spared_by=NO_IC,
    ),
    Rule(
        "fetch.domain",
        "what is resumed is cleaned, and the I-cache invalidated, for all CPUs: DSBs of the inner "
        "shareable domain at least, IC IALLUIS",
        ARM + "B2.7.4.2, D7.5.9.12",
        Severity.WARNING,
        _resumes,
        _others,
        "the other CPUs are off then, and begin with the MMU off and an I-cache of their own that "
        "Linux invalidates",
        consequence="A CPU that was parked and not turned off executes the old kernel's code.",
        hint="dc cvau; dsb ish; ic ialluis; dsb ish; isb",
    ),
    Rule(
        "fetch.in-place",
        "the I-cache is invalidated on the way to a kernel that was loaded in place",
        "Documentation/arch/arm64/booting.rst: no stale entries for the loaded image",
        Severity.WARNING,
        hands_over,
        each(LapseKind.NEVER_INVALIDATED, tell=_in_place),
        "patch 5 skips the relocation code, and its IC IALLU with it; memory that was reserved "
        "for the image and is mapped execute-never has hardly been fetched from",
        spared_by=NO_IC,
    ),
)
