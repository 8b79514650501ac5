"""What arrived: every byte of every segment, in its place."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.guest.content import Mismatch
from relokit.runtime.judge.rules.rule import Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.stores import NOTHING_STORED, told_where_stored
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record
from relokit.runtime.record.stations import StationRole


def _cause(record: Record) -> str:
    felt = record.effects
    if felt is None or not felt.lost:
        return "a list entry, a table entry or the copy itself sent a page elsewhere"
    return f"{felt.told()} (--effects): the rules on caches say where"


def _resumes(record: Record) -> bool:
    return any(promise.role is StationRole.RESUMED for promise in record.promises)


def _moves_segments(record: Record) -> str | None:
    return "a hibernated kernel's pages are restored: memory.resumed" if _resumes(record) else None


def _restores(record: Record) -> str | None:
    return None if _resumes(record) else "no hibernated kernel is resumed"


def _segment(record: Record) -> Iterator[Broken]:
    for arrival in known(record.arrived):
        result, first = arrival.result, arrival.result.first
        if first is not None:
            pa = arrival.base + first.offset
            broken = Broken(
                f"{arrival.name}: {result.bad_pages} of {result.pages} pages are not "
                "what was to be moved there",
                address=pa,
                notes=(_first_wrong(first, pa),),
                # Once everything was entered: before what is about no moment.
                station=len(record.promises),
            )
            yield told_where_stored(record, broken, pa)


def _first_wrong(first: Mismatch, pa: int) -> str:
    return (
        f"first wrong byte: offset {first.offset:#x}, PA {pa:#x}, {first.got:#04x} instead of "
        f"{first.expected:#04x}"
    )


def _resumed(record: Record) -> Iterator[Broken]:
    arrived = known(record.arrived)
    wrong = next((one for one in arrived if one.result.first is not None), None)
    if wrong is None or wrong.result.first is None:
        return
    first, pa = wrong.result.first, wrong.base + wrong.result.first.offset
    bad = sum(one.result.bad_pages for one in arrived)
    pages = sum(one.result.pages for one in arrived)
    broken = Broken(
        f"{bad} of {pages} pages are not as they were",
        address=pa,
        notes=(_first_wrong(first, pa),),
        station=len(record.promises),
        # It was to be back when its tables were put to use, and that is why they fail.
        explains=not record.reached,
    )
    broken = told_where_stored(record, broken, pa)
    if record.reached or NOTHING_STORED not in broken.notes:
        yield broken


ARRIVAL = (
    Rule(
        "memory.segment",
        "every segment is at its place, byte by byte, and zeros fill its last page",
        "kexec_load(2); include/linux/kexec.h: struct kexec_segment",
        Severity.ERROR,
        _moves_segments,
        _segment,
        _cause,
    ),
    Rule(
        "memory.resumed",
        "every page of the hibernated kernel is back where it was, byte by byte",
        "kernel/power/snapshot.c: restore_pblist",
        Severity.ERROR,
        _restores,
        _resumed,
        _cause,
    ),
)
