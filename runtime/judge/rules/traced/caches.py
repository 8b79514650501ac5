"""Data caches: what has to be at the point of coherency, and what must not be lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from relokit.runtime.judge.model.caches.lapse import Lapse, LapseKind
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.rule import Broken, Check, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.traced.lapses_told import (
    amount,
    bounded,
    by,
    coherence,
    instruction,
    lapses,
    maintenance,
    pattern,
    segments,
    told,
    used_by,
)
from relokit.runtime.record.record import Record
from relokit.runtime.record.stations import StationRole
from relokit.runtime.record.trace import TraceKind

ARM = "ARM DDI 0487, "


def hands_over(record: Record) -> str | None:
    """Why nothing is handed over to a kernel that starts with its MMU off."""
    if record.promises and record.promises[-1].role is StationRole.RESUMED:
        return "the resumed kernel goes on with its MMU and caches on"
    return None


def each(*kinds: LapseKind, tell: Callable[[Record, Lapse], Iterator[Broken]]) -> Check:
    """A check that tells every lapse of ``kinds``."""

    def check(record: Record) -> Iterator[Broken]:
        yield from bounded(broken for one in lapses(record, *kinds) for broken in tell(record, one))

    return check


def _discard(record: Record, lapse: Lapse) -> Iterator[Broken]:
    notes = list(by(record, "stored by", lapse))
    if lapse.old:
        notes.append(f"{lapse.old:,} bytes stored by the old kernel before machine_kexec")
    yield told(
        record,
        f"{instruction(record, lapse.pc)} discards what was stored and never cleaned: "
        f"{amount(lapse)}",
        lapse,
        notes=notes,
    )


def _masked(record: Record, lapse: Lapse) -> Iterator[Broken]:
    yield told(
        record,
        f"{instruction(record, lapse.pc)} would discard what was stored and never cleaned, if no "
        f"hypervisor (HCR_EL2.VM) had it clean as well: {amount(lapse)}",
        lapse,
        notes=by(record, "stored by", lapse),
    )


def _dirty(record: Record, lapse: Lapse) -> Iterator[Broken]:
    line = coherence(record).line
    notes = list(by(record, "last stored by", lapse))
    if lapse.old:
        notes.append(
            f"{lapse.old:,} bytes were never written: what the old kernel had there may be "
            "written back at any time"
        )
    which = None if lapse.missed is None else pattern(lapse.missed, line)
    where = f": {which}" if which else ""
    broken = told(
        record,
        f"{segments(record, lapse)}: handed over while a cache may hold what memory does not"
        f"{where}; "
        f"{amount(lapse)}",
        lapse,
        notes=notes,
    )
    yield replace(broken, uses=maintenance(record, lapse.pc, TraceKind.DC))


def _dirty_image(record: Record, lapse: Lapse) -> Iterator[Broken]:
    if lapse.executed:
        yield from _dirty(record, lapse)


def _dirty_data(record: Record, lapse: Lapse) -> Iterator[Broken]:
    if not lapse.executed:
        yield from _dirty(record, lapse)


def _uncompleted(record: Record, lapse: Lapse) -> Iterator[Broken]:
    given = segments(record, lapse)
    when = f"is not complete when {given} is handed over" if given else "is relied on"
    what = instruction(record, lapse.pc)
    if lapse.pc is not None and "dsb" in what:
        message = f"{what} completes no maintenance, which {when}: {amount(lapse)}"
    else:
        message = f"{what} {when} without a DSB that completes it: {amount(lapse)}"
    broken = told(record, message, lapse, notes=by(record, "part is taken by", lapse))
    yield replace(broken, uses=(*_barrier(record, lapse), *(broken.uses or ())))


def _barrier(record: Record, lapse: Lapse) -> Iterator[Used]:
    """The barrier that there is behind maintenance: the wrong one, or in the wrong place."""
    from relokit.runtime.judge.rules.makers import steps_of

    steps = steps_of(record)
    if steps is None or lapse.pc is None:
        return
    step = steps.barrier_behind(lapse.pc)
    if step is not None:
        yield Used(steps.pc(step), (), itself=True)


def _weak(record: Record, lapse: Lapse) -> Iterator[Broken]:
    what = instruction(record, lapse.pc)
    if lapse.pc in lapse.others:
        message = (
            f"{what} completes maintenance for its own shareability domain, and who reads with "
            "the MMU off is in the outer one"
        )
    else:
        message = f"{what} completes no maintenance, and what does later is of a smaller domain"
    yield told(
        record,
        f"{message}: {amount(lapse)}",
        lapse,
        notes=by(record, "completed by", lapse),
    )


def _read_around(record: Record, lapse: Lapse) -> Iterator[Broken]:
    notes = list(by(record, "stored by", lapse))
    if lapse.old:
        notes.append(f"{lapse.old:,} bytes stored by the old kernel, and not cleaned since")
    yield told(
        record,
        f"{instruction(record, lapse.pc)} reads memory while a cache may hold what was stored: "
        f"{amount(lapse)}",
        lapse,
        notes=notes,
    )


def _read_hidden(record: Record, lapse: Lapse) -> Iterator[Broken]:
    yield told(
        record,
        f"{instruction(record, lapse.pc)} reads through the caches what was stored around them: "
        f"{amount(lapse)}",
        lapse,
        notes=by(record, "stored by", lapse),
    )


def _maintains(record: Record, lapse: Lapse) -> bool:
    """Whether the instruction that ``lapse`` is at is maintenance, and not the store itself."""
    return instruction(record, lapse.pc).startswith("`dc ")


def _written_around(record: Record, lapse: Lapse) -> Iterator[Broken]:
    what = instruction(record, lapse.pc)
    if _maintains(record, lapse):
        message = f"{what} leaves lines dirty that are then stored to around the caches"
    else:
        message = f"{what} stores to memory while a cache may hold dirty lines of it"
    notes = list(by(record, "stored by", lapse))
    if lapse.old:
        notes.append(f"{lapse.old:,} bytes are dirty since before machine_kexec")
    broken = told(record, f"{message}: {amount(lapse)}", lapse, notes=notes)
    yield replace(broken, uses=_before(record, lapse))


def _before(record: Record, lapse: Lapse) -> tuple[Used, ...]:
    """What was to maintain memory before it is stored to around the caches, and the store."""
    maintained = maintenance(record, None, TraceKind.DC)
    mine = used_by(record, lapse) or ()
    if _maintains(record, lapse):
        return (*mine, *maintained)
    return (*maintained, *(replace(one, cost=one.cost + 2) for one in mine))


def _hidden(record: Record, lapse: Lapse) -> Iterator[Broken]:
    what = instruction(record, lapse.pc)
    does = "does not invalidate them" if _maintains(record, lapse) else "stores around them"
    broken = told(
        record,
        f"{segments(record, lapse)}: a cache may still hold old lines of it, {what} {does}; "
        f"{amount(lapse)}",
        lapse,
    )
    yield replace(broken, uses=_before(record, lapse))


def _set_way(record: Record, lapse: Lapse) -> Iterator[Broken]:
    times = f", {lapse.times:,} times" if lapse.times > 1 else ""
    yield told(record, f"{instruction(record, lapse.pc)} is executed{times}", lapse)


def _optional(record: Record, lapse: Lapse) -> Iterator[Broken]:
    what = instruction(record, lapse.pc)
    yield told(record, f"{what} is UNDEFINED on a CPU without its feature", lapse)


def _mixed(record: Record, lapse: Lapse) -> Iterator[Broken]:
    yield told(
        record,
        f"{instruction(record, lapse.pc)} may overtake a store to the same bytes, which was of "
        f"another type of memory: {amount(lapse)}",
        lapse,
    )


def _device(record: Record, lapse: Lapse) -> Iterator[Broken]:
    yield told(
        record,
        f"{instruction(record, lapse.pc)} accesses Device memory, as all memory is with the MMU "
        f"off, in a way that it does not take: {amount(lapse)}",
        lapse,
    )


CACHES = (
    Rule(
        "caches.discard",
        "no line is invalidated that holds what was stored and not cleaned, nor any within 2 KiB "
        "of the address",
        ARM + "D7.5.8.2.1, D7.5.9.2: DC IVAC; CTR_EL0.CWG",
        Severity.ERROR,
        always,
        each(LapseKind.DISCARDED, tell=_discard),
        "dc ivac drops a line without writing it to memory: what was copied is lost unless it "
        "happened to be evicted before; dc civac writes it back first",
    ),
    Rule(
        "caches.masked-discard",
        "below a hypervisor, too, no line is invalidated that holds what was stored and not "
        "cleaned",
        ARM + "D7.5.9.2: DC IVAC with HCR_EL2.{VM, DC}",
        Severity.WARNING,
        always,
        each(LapseKind.MASKED, tell=_masked),
        "dc ivac is a clean as well under a second stage of translation; on bare metal the bytes "
        "are lost",
    ),
    Rule(
        "caches.image",
        "whatever is entered with the MMU off is at the point of coherency, all of it",
        "Documentation/arch/arm64/booting.rst: cleaned to the PoC; " + ARM + "D7.5.9.5",
        Severity.ERROR,
        hands_over,
        each(LapseKind.DIRTY, tell=_dirty_image),
        "lines that no dc civac or dc cvac reached: none is there, it goes to the PoU only (cvau), "
        "its stride is larger than a line, or its range begins late or ends early",
    ),
    Rule(
        "caches.data",
        "what the new kernel reads besides its image is at the point of coherency",
        ARM + "B2.7.4; booting.rst asks it of the image only",
        Severity.WARNING,
        hands_over,
        each(LapseKind.DIRTY, tell=_dirty_data),
        "a reader with its caches on finds it all the same, one with its MMU off does not",
    ),
    Rule(
        "caches.completion",
        "maintenance is completed by a DSB for loads and stores before anyone relies on it",
        ARM + "D7.5.9.15",
        Severity.ERROR,
        always,
        each(LapseKind.UNCOMPLETED, tell=_uncompleted),
        "a DSB (sy) is missing behind the maintenance, or it is one for loads (ld) or stores "
        "(st) only",
    ),
    Rule(
        "caches.domain",
        "the DSB behind maintenance to the point of coherency is one of the outer shareable "
        "domain or the full system",
        ARM + "D7.5.9.15: completion is by shareability domain",
        Severity.WARNING,
        hands_over,
        each(LapseKind.WEAK, tell=_weak),
        "dsb ish or nsh where the kernel has dsb sy; no machine is known that fails",
    ),
    Rule(
        "caches.read-around",
        "what is read around the caches has been cleaned to the point of coherency",
        ARM + "B2.16: mismatched memory attributes",
        Severity.ERROR,
        always,
        each(LapseKind.READ_AROUND, tell=_read_around),
        "it was stored with the caches on, and is read with the MMU off before anything has "
        "cleaned it",
    ),
    Rule(
        "caches.write-around",
        "what is written around the caches has no dirty line in any, nor within 2 KiB of it",
        ARM + "B2.16: mismatched memory attributes; CTR_EL0.CWG",
        Severity.ERROR,
        always,
        each(LapseKind.WRITTEN_AROUND, tell=_written_around),
        "a dirty line that is written back later takes the place of what was stored",
    ),
    Rule(
        "caches.read-hidden",
        "what was written around the caches is invalidated before it is read through them",
        ARM + "B2.16: mismatched memory attributes",
        Severity.ERROR,
        always,
        each(LapseKind.READ_HIDDEN, tell=_read_hidden),
        "an old line of it may still be in a cache",
    ),
    Rule(
        "caches.hidden",
        "no cache holds an old line of what was written around it and is handed over",
        ARM + "B2.16: mismatched memory attributes, D7.5.1",
        Severity.ERROR,
        hands_over,
        each(LapseKind.HIDDEN, tell=_hidden),
        "the invalidation before the copy is missing, or not complete: the new kernel reads the "
        "old line once its caches are on",
    ),
    Rule(
        "caches.set-way",
        "no maintenance is by set and way while memory is shared or cached elsewhere",
        ARM + "D7.5.8.1.1, D7.5.9.12",
        Severity.WARNING,
        always,
        each(LapseKind.SET_WAY, tell=_set_way),
        "it reaches this CPU's own levels only and proves nothing of the point of coherency",
    ),
    Rule(
        "caches.optional",
        "maintenance is by instructions that every CPU has",
        ARM + "D7.5.9.2: FEAT_DPB, FEAT_DPB2, FEAT_MTE",
        Severity.WARNING,
        always,
        each(LapseKind.OPTIONAL, tell=_optional),
        "dc cvap and cvadp are there with FEAT_DPB and FEAT_DPB2, maintenance of tags with "
        "FEAT_MTE; dc cvac and civac reach the point of coherency everywhere",
    ),
    Rule(
        "caches.mixed",
        "a barrier is between a store to Device memory and a Non-cacheable access to the same "
        "bytes, or the other way round",
        ARM + "B2.16: mismatched memory attributes",
        Severity.WARNING,
        always,
        each(LapseKind.MIXED, tell=_mixed),
        "accesses by two types of memory are in no order without a DMB or a DSB",
    ),
    Rule(
        "caches.device",
        "Device memory is accessed with aligned loads and stores that are not exclusive, and "
        "not by dc zva",
        ARM + "D8.2.12.1, B2.7.2",
        Severity.ERROR,
        always,
        each(LapseKind.FORBIDDEN, tell=_device),
        "with the MMU off all data is Device-nGnRnE: alignment fault, or UNPREDICTABLE",
    ),
)
