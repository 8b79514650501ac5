"""The file of a trace and of facts beside it: docs/trace.md says what is in it, byte by byte.

Reading is strict: a file is what :func:`trace_chunks` gives for some trace, or it is refused. What
the facts say is not looked at here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import open_file
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.record.trace import (
    ATTRIBUTE_MMU,
    ATTRIBUTE_SHAREABILITY,
    MAX_TRACE_RECORDS,
    NO_PA,
    RECORD,
    Records,
    Trace,
    TraceFlag,
    TraceKind,
)

TRACE_NAME = b"relokit trace "
TRACE_MAGIC = TRACE_NAME + b"2\n"
"""The first line; the number is the version of the format."""
MAX_HEADER = 1 << 16
"""Bytes of the second line, its end included."""
MAX_FACTS = 1 << 24
"""Bytes of the facts."""
FACT_BYTES = 16
"""What a byte of the facts becomes, as objects."""
_DIGEST = 32
MAX_TRACE_FILE = (
    len(TRACE_MAGIC) + MAX_HEADER + MAX_FACTS + MAX_TRACE_RECORDS * RECORD.itemsize + _DIGEST
)
_HEADER_KEYS = {"columns", "facts", "full_at", "instructions", "records", "start"}
_COLUMNS = [[name, RECORD[name].str] for name in RECORD.names or ()]
_ALL_FLAGS = sum(TraceFlag)
_ALL_ATTRIBUTES = ATTRIBUTE_MMU | 3 << ATTRIBUTE_SHAREABILITY | 0xFF


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """What a file of ``size`` bytes has: the trace, the text of the facts, and its digest."""

    trace: Trace
    facts: memoryview
    digest: bytes
    size: int


def trace_chunks(trace: Trace, facts: bytes) -> Iterator[bytes]:
    """The file of ``trace``, piece by piece, the digest last; equal traces have equal files.

    Raises FormatError for more ``facts`` than MAX_FACTS.
    """
    if len(facts) > MAX_FACTS:
        raise FormatError(
            f"{len(facts):,} bytes of facts, and a trace file may have {MAX_FACTS:,}",
            hint="move less, or in fewer pieces",
        )
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for chunk in (TRACE_MAGIC, _header_line(trace, facts), facts, *_columns(trace.records)):
        digest.update(chunk)
        yield chunk
    yield digest.digest()


def read_trace(path: str | Path) -> StoredTrace:
    """What is in the file ``path``; FormatError for whatever else it is.

    Takes memory in proportion to the file, which may have MAX_TRACE_FILE bytes.
    """
    file = open_file(path, what="a trace that relokit wrote", limit=MAX_TRACE_FILE)
    return parse_trace(file.content, where=file.where)


def parse_trace(data: bytes | memoryview, *, where: str) -> StoredTrace:
    """What ``data`` is the file of; ``where`` names it in a FormatError."""
    view = memoryview(data)
    if view[: len(TRACE_MAGIC)] != TRACE_MAGIC:
        raise _bad(where, _other_file(bytes(view[: len(TRACE_MAGIC)])))
    line = bytes(view[len(TRACE_MAGIC) : len(TRACE_MAGIC) + MAX_HEADER])
    end = line.find(b"\n")
    if end < 0:
        raise _bad(where, f"its header has no end within {MAX_HEADER} bytes")
    header = _header(line[:end], where)
    count, facts = header["records"], header["facts"]
    first = len(TRACE_MAGIC) + end + 1
    if len(view) != first + facts + count * RECORD.itemsize + _DIGEST:
        raise _bad(
            where, f"{len(view)} bytes are not those of {count} records and {facts} bytes of facts"
        )
    digest = hashlib.blake2b(view[:-_DIGEST], digest_size=_DIGEST).digest()
    if digest != view[-_DIGEST:]:
        raise _bad(where, "its contents are not those that its digest was made of")
    stored = view[first : first + facts]
    spend(FACT_BYTES * facts, "facts of traces", where)
    spend(count * RECORD.itemsize, "records of traces", where)
    records = np.empty(count, RECORD)
    first += facts
    for name in RECORD.names or ():
        column = RECORD[name]
        records[name] = np.frombuffer(view, column, count, first)
        first += count * column.itemsize
    records.flags.writeable = False
    trace = Trace(records, header["start"], header["instructions"], header["full_at"])
    problem = _problem(trace)
    if problem:
        raise _bad(where, problem)
    return StoredTrace(trace, stored, digest, len(view))


def _other_file(first: bytes) -> str:
    if first.startswith(TRACE_NAME):
        version = first[len(TRACE_NAME) :].split(b"\n")[0].decode("ascii", "replace")[:20]
        return f"is a trace of version {version!r}, not 2: it has not the facts to judge it by"
    return "is no trace that relokit wrote"


def _columns(records: Records) -> Iterator[bytes]:
    for name in RECORD.names or ():
        yield np.ascontiguousarray(records[name]).tobytes()


def _header_line(trace: Trace, facts: bytes) -> bytes:
    header = {
        "columns": _COLUMNS,
        "facts": len(facts),
        "full_at": trace.full_at,
        "instructions": trace.instructions,
        "records": len(trace.records),
        "start": dict(trace.start),
    }
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _header(line: bytes, where: str) -> dict[str, Any]:
    try:
        header = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        raise _bad(where, "its header is no JSON") from None
    if not isinstance(header, dict) or set(header) != _HEADER_KEYS:
        raise _bad(where, f"its header has not the keys {', '.join(sorted(_HEADER_KEYS))}")
    if header["columns"] != _COLUMNS:
        raise _bad(where, "its columns are not those of version 2")
    if not _is_number(header["facts"], MAX_FACTS):
        raise _bad(where, f"its number of bytes of facts is none up to {MAX_FACTS}")
    if not _is_number(header["records"], MAX_TRACE_RECORDS):
        raise _bad(where, f"its number of records is none up to {MAX_TRACE_RECORDS}")
    if not _is_number(header["instructions"], MASK64):
        raise _bad(where, "its number of instructions is none of 64 bits")
    if header["full_at"] is not None and not _is_number(header["full_at"], MASK64):
        raise _bad(where, "where it was full is no number of instructions")
    start = header["start"]
    if not isinstance(start, dict) or not all(_is_number(one, MASK64) for one in start.values()):
        raise _bad(where, "its start is no table of 64-bit registers")
    return header


def _is_number(value: object, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest


def _problem(trace: Trace) -> str | None:
    """What no recorder writes, in words."""
    records = trace.records
    kind, flags, before = records["kind"], records["flags"], records["before"]
    unknown_pa = (flags & TraceFlag.NO_PA) != 0
    checks = (
        ((kind < min(TraceKind)) | (kind > max(TraceKind)), "has a kind that there is not"),
        ((flags & np.uint16(~_ALL_FLAGS & 0xFFFF)) != 0, "has a flag that there is not"),
        (
            (records["attributes"] & np.uint16(~_ALL_ATTRIBUTES & 0xFFFF)) != 0,
            "has attributes that there are not",
        ),
        (records["el"] > 3, "is of an exception level that there is not"),
        (records["count"] == 0, "is of nothing"),
        (_wraps(records["va"], records["length"]), "goes on behind the last VA"),
        (~unknown_pa & _wraps(records["pa"], records["length"]), "goes on behind the last PA"),
        (unknown_pa & (records["pa"] != np.uint64(NO_PA)), "has no PA, and one"),
        (before > np.uint64(trace.instructions), "is of an instruction that was not begun"),
    )
    for wrong, what in checks:
        if wrong.any():
            return f"record {int(wrong.argmax())} {what}"
    if (before[1:] < before[:-1]).any():
        return f"record {int((before[1:] < before[:-1]).argmax()) + 1} is out of order"
    return None


def _wraps(address: Records, length: Records) -> Records:
    """Whether ``address + length`` is more than 2^64."""
    wraps: Records = (length != 0) & (address + (length - np.uint64(1)) < address)
    return wraps


def _bad(where: str, problem: str) -> FormatError:
    return FormatError(problem, where=where, hint="make it again with 'relokit run --trace'")
