"""Evidence to file and back: the trace, and beside it every other fact of the Record.

Facts travel by their annotations (codegen/base/documents.py): whatever a Record may hold is a
frozen dataclass of plain types. A fact that a file does not have is Unknown when it is read, and
what asks for it is not judged. Reading is strict, and bounded before memory is spent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from relokit.codegen.base.documents import data_of, from_data, hints_of
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.version import VERSION
from relokit.runtime.evidence.bounds import too_much
from relokit.runtime.evidence.conclusion import conclude
from relokit.runtime.evidence.evidence import Evidence, Subject
from relokit.runtime.judge.outcome import Outcome, TraceFile
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import BootFacts, Record
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.record.trace import Trace
from relokit.runtime.record.trace_file import StoredTrace, read_trace, trace_chunks

MAX_FACT_VALUES = 1 << 20
"""Values in the facts, by the commas and brackets between them."""
MAX_BITS = 64
MAX_DIGITS = 20
CONTRADICTIONS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""What a rule ends with on facts that no run has together: each by itself is of its type."""
TRACE = "trace"
"""The field of Record that the file has records of."""
FACTS: Mapping[str, Any] = MappingProxyType(
    {name: hint for name, hint in hints_of(Record).items() if name != TRACE}
)
"""By name, the types of the facts that a Record has."""
MAKE_AGAIN = "make it again with 'relokit run --trace'"


def evidence_chunks(evidence: Evidence) -> Iterator[bytes]:
    """The file of ``evidence``, whose trace is known, piece by piece."""
    trace = evidence.record.trace
    assert isinstance(trace, Trace)
    return trace_chunks(trace, facts_of(evidence))


def facts_of(evidence: Evidence) -> bytes:
    """All of ``evidence`` but the trace, as JSON; without times of the host's clock."""
    record = _timeless(evidence.record)
    facts = {name: data_of(hint, getattr(record, name)) for name, hint in FACTS.items()}
    whole = {
        "relokit": VERSION,
        "subject": data_of(Subject, evidence.subject),
        "facts": facts,
    }
    return json.dumps(whole, sort_keys=True, separators=(",", ":")).encode("ascii")


def _timeless(record: Record) -> Record:
    """``record`` as it is on every machine."""
    scene, boot = record.scene, record.boot
    return replace(
        record,
        legs=tuple(replace(leg, stop=_timeless_stop(leg.stop)) for leg in record.legs),
        scene=scene and replace(scene, stop=_timeless_stop(scene.stop)),
        boot=boot and _timeless_boot(boot),
    )


def _timeless_boot(boot: BootFacts) -> BootFacts:
    scene = boot.scene and replace(boot.scene, stop=_timeless_stop(boot.scene.stop))
    return replace(boot, stop=_timeless_stop(boot.stop), scene=scene)


def _timeless_stop(stop: Stop) -> Stop:
    """How long it took says nothing, unless that is why it ended."""
    return stop if stop.reason is StopReason.TIMEOUT else replace(stop, seconds=0.0)


def judge_file(
    path: str | Path, *, strict: bool = False, profile: str | None = None
) -> tuple[Evidence, Outcome]:
    """The evidence in the file ``path``, and what the book says of it.

    A warning fails it if it is ``strict``; ``profile`` is as for a run. Raises FormatError for
    whatever else the file is, and for what no machine here could judge.
    """
    stored = read_trace(path)
    where = str(path)
    evidence, version = parse_evidence(stored, where=where)
    problem = too_much(evidence.record)
    if problem:
        raise FormatError(problem, where=where, hint="judge it where there is more memory")
    try:
        outcome = conclude(evidence, strict=strict, profile=profile)
    except CONTRADICTIONS as error:
        raise FormatError(
            f"its facts contradict each other ({type(error).__name__}: {str(error)[:80]})",
            where=where,
            hint=MAKE_AGAIN,
        ) from None
    trace, digest = stored.trace, stored.digest.hex()
    file = TraceFile(
        stored.size, len(trace.records), digest, evidence.subject.name, version, trace.full_at
    )
    return evidence, replace(outcome, trace=file)


def parse_evidence(stored: StoredTrace, *, where: str) -> tuple[Evidence, str]:
    """What ``stored`` is of, and the version that wrote it; FormatError with ``where`` else."""
    text = bytes(stored.facts)
    if sum(text.count(one) for one in (b",", b"[", b"{")) > MAX_FACT_VALUES:
        _refuse(where, f"it has more than {MAX_FACT_VALUES:,} facts")
    try:
        whole = json.loads(text.decode("ascii"), parse_int=_number, parse_constant=_number)
    except (ValueError, RecursionError):
        _refuse(where, "its facts are no JSON of 64-bit numbers")
    if not isinstance(whole, dict) or whole.keys() != {"relokit", "subject", "facts"}:
        _refuse(where, "its facts have not the keys relokit, subject and facts")
    version, facts = whole["relokit"], whole["facts"]
    if not isinstance(version, str) or len(version) > MAX_BITS or not isinstance(facts, dict):
        _refuse(where, "its facts are not a table and the version that wrote it")
    try:
        record = _record(stored.trace, facts)
        subject = from_data(Subject, whole["subject"])
    except FormatError as error:
        _refuse(where, f"{error.message} (written by relokit {version})")
    return Evidence(subject, record), version


def _record(trace: Trace, facts: Mapping[str, Any]) -> Record:
    strange = facts.keys() - FACTS.keys()
    if strange:
        raise FormatError(f"there is no fact {min(strange)[:40]!r}")
    values: dict[str, Any] = {
        name: from_data(hint, facts[name]) if name in facts else _missing(name, hint)
        for name, hint in FACTS.items()
    }
    return Record(trace=trace, **values)


def _missing(name: str, hint: Any) -> Unknown:
    if Unknown not in getattr(hint, "__args__", ()):
        raise FormatError(f"the fact {name!r} is not there")
    return Unknown(f"the trace file does not have it: {name}")


def _number(text: str) -> int:
    if len(text) > MAX_DIGITS or abs(number := int(text)) >> MAX_BITS:
        raise ValueError("a number of more than 64 bits")
    return number


def _refuse(where: str, problem: str) -> NoReturn:
    raise FormatError(problem, where=where, hint=MAKE_AGAIN)
