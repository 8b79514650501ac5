"""Evidence as a Chrome trace (JSON trace events): a time line of instructions, for ui.perfetto.dev.

One instruction is one microsecond. What it looks like: docs/trace.md. Source of the format: "Trace
Event Format", the document that the Chrome project publishes; ui.perfetto.dev reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.base.version import VERSION
from relokit.codegen.system_registers import operation_name, register_name
from relokit.runtime.evidence.evidence import Evidence
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.trace import Records, Trace, TraceKind

MAX_SLICES = 4096
"""What is drawn in one track: more than that is drawn together."""
PROCESS = 1
LEGS, FINDINGS, FIRST = 1, 2, 3
"""Numbers of tracks; FIRST is that of the first one of records."""

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Track:
    """Records of ``kinds`` in a row of their own; ``ranges`` have a length in time."""

    name: str
    kinds: tuple[TraceKind, ...]
    ranges: bool = False


TRACKS = (
    Track("loads", (TraceKind.LOAD,), ranges=True),
    Track("stores", (TraceKind.STORE,), ranges=True),
    Track("cache maintenance", (TraceKind.DC, TraceKind.IC), ranges=True),
    Track("barriers", (TraceKind.DSB, TraceKind.DMB, TraceKind.ISB, TraceKind.SB)),
    Track("TLB fills", (TraceKind.FILL,)),
    Track("TLB maintenance", (TraceKind.TLBI, TraceKind.AT, TraceKind.SYS)),
    Track("registers", (TraceKind.MSR, TraceKind.MSR_FIELD, TraceKind.MRS)),
    Track(
        "calls and exceptions",
        (
            TraceKind.SVC,
            TraceKind.HVC,
            TraceKind.SMC,
            TraceKind.ERET,
            TraceKind.EXCEPTION,
            TraceKind.VECTORS,
        ),
    ),
    Track("code", (TraceKind.FETCH,)),
    Track("not known", (TraceKind.UNKNOWN,)),
)


def timeline_chunks(evidence: Evidence, findings: Iterable[Finding]) -> Iterator[bytes]:
    """The file, piece by piece; equal runs have equal files. The trace is known."""
    yield b'{"displayTimeUnit":"ns","otherData":'
    yield _text({"relokit": VERSION, "target": evidence.subject.name, "ts": "instructions"})
    yield b',"traceEvents":['
    for number, event in enumerate(_events(evidence, findings)):
        yield (b",\n" if number else b"\n") + _text(event)
    yield b"\n]}\n"


def _text(value: Event) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _events(evidence: Evidence, findings: Iterable[Finding]) -> Iterator[Event]:
    trace, code = evidence.record.trace, evidence.record.code
    assert isinstance(trace, Trace)
    places = code.places if isinstance(code, CodeSeen) else {}
    yield _named("process_name", 0, f"relokit {evidence.subject.name}")
    yield _named("thread_name", LEGS, "legs")
    yield from _legs(evidence)
    yield _named("thread_name", FINDINGS, "findings")
    for finding in findings:
        yield _finding(trace, finding)
    for number, track in enumerate(TRACKS, FIRST):
        numbers = np.flatnonzero(np.isin(trace.records["kind"], track.kinds))
        if len(numbers):
            yield _named("thread_name", number, track.name)
            for one in _slices(trace, track, numbers, places):
                yield {"ph": "X", "pid": PROCESS, "tid": number, "cat": track.name, **one}


def _named(what: str, track: int, name: str) -> Event:
    return {"ph": "M", "pid": PROCESS, "tid": track, "name": what, "args": {"name": name}}


def _legs(evidence: Evidence) -> Iterator[Event]:
    at = 0
    for leg in evidence.record.legs:
        took = leg.stop.instructions
        yield {
            "ph": "X",
            "pid": PROCESS,
            "tid": LEGS,
            "cat": "legs",
            "name": leg.name.value,
            "ts": at,
            "dur": took,
            "args": {"ended": str(leg.stop.reason), "pc": hex(leg.stop.pc)},
        }
        at += took


def _finding(trace: Trace, finding: Finding) -> Event:
    """At the first record of its instruction; at the end if it is about none."""
    at = trace.instructions
    if finding.address is not None:
        here = np.flatnonzero(trace.records["pc"] == np.uint64(finding.address))
        at = int(trace.records["before"][here[0]]) if len(here) else at
    told = {"message": finding.message, "place": finding.place, "cause": finding.cause}
    return {
        "ph": "i",
        "s": "p",
        "pid": PROCESS,
        "tid": FINDINGS,
        "cat": "findings",
        "name": f"{finding.severity}: {finding.rule}",
        "ts": at,
        "args": {key: text for key, text in told.items() if text},
    }


def _slices(trace: Trace, track: Track, numbers: Any, places: Any) -> Iterator[dict[str, Any]]:
    """What of the records of ``track`` is drawn, by their numbers in the trace.

    More than MAX_SLICES are drawn in so many groups.
    """
    records = trace.records[numbers]
    ends = _ends(trace, numbers) if track.ranges else records["before"] + np.uint64(1)
    groups = np.linspace(0, len(records), min(len(records), MAX_SLICES) + 1).astype(np.int64)
    for first, end in zip(groups[:-1].tolist(), groups[1:].tolist(), strict=True):
        one, begin = records[first], int(records["before"][first])
        alone = end - first == 1
        name = _name(one) if alone else f"{end - first:,} of {track.name}"
        yield {
            "name": name,
            "ts": begin,
            "dur": max(int(ends[end - 1]) - begin, 1),
            "args": _details(one, places) if alone else _sum(records[first:end]),
        }


def _ends(trace: Trace, numbers: Any) -> Any:
    """To where each range is drawn: the next of its track, or what ended it at the latest."""
    before, kinds = trace.records["before"], trace.records["kind"]
    end = np.uint64(trace.instructions)
    events = np.flatnonzero(kinds >= TraceKind.TLBI)
    following = np.append(before[numbers][1:], end)
    ended = np.append(before[events], end)[np.searchsorted(events, numbers)]
    return np.maximum(np.minimum(following, ended), before[numbers] + np.uint64(1))


def _name(record: Any) -> str:
    kind, encoding = TraceKind(int(record["kind"])), int(record["encoding"])
    if kind in (TraceKind.DC, TraceKind.IC, TraceKind.TLBI, TraceKind.AT):
        return operation_name(encoding)
    if kind in (TraceKind.MSR, TraceKind.MRS):
        return f"{kind.name.lower()} {register_name(encoding)}"
    if kind is TraceKind.EXCEPTION:
        return f"exception to EL{int(record['el'])}, vector {encoding:#x}"
    return kind.name.lower().replace("_", " ")


def _details(record: Any, places: Any) -> dict[str, Any]:
    pc = int(record["pc"])
    told: dict[str, Any] = {"pc": hex(pc), "el": int(record["el"])}
    if pc in places:
        told["place"] = places[pc]
    for name in ("va", "pa", "value"):
        if record[name]:
            told[name] = hex(int(record[name]))
    if record["length"]:
        told |= {"bytes": int(record["length"]), "accesses": int(record["count"])}
    return told


def _sum(records: Records) -> dict[str, Any]:
    return {
        "first pc": hex(int(records["pc"][0])),
        "bytes": int(records["length"].sum()),
        "from pa": hex(int(records["pa"].min())),
        "accesses": int(records["count"].sum()),
    }
