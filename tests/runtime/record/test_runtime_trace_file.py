"""The file of a trace: what was written is read, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.runtime.record.trace import RECORD, Trace, TraceFlag, TraceKind
from relokit.runtime.record.trace_file import (
    MAX_FACTS,
    MAX_HEADER,
    TRACE_MAGIC,
    parse_trace,
    read_trace,
    trace_chunks,
)

DIGEST = 32


def trace_of(*rows: dict[str, int], **fields: Any) -> Trace:
    records = np.zeros(len(rows), RECORD)
    for record, row in zip(records, rows, strict=True):
        for name, value in {"count": 1, "kind": TraceKind.LOAD, "length": 8, **row}.items():
            record[name] = value
    return Trace(records, **{"start": {"PC": 4096}, "instructions": 100} | fields)


SMALL = trace_of(
    {"pc": 0x1000, "va": 1 << 63, "pa": 1 << 51, "size": 8},
    {"kind": TraceKind.STORE, "flags": TraceFlag.NO_PA, "pa": 2**64 - 1, "before": 3},
    {"kind": TraceKind.MSR, "length": 0, "value": 2**64 - 1, "encoding": 0xC100, "before": 9},
    full_at=9,
)


FACTS = b'{"what":"is not looked at"}'


def stored(trace: Trace, folder: Path) -> bytes:
    data = b"".join(trace_chunks(trace, FACTS))
    (folder / "trace").write_bytes(data)
    return data


def sealed(data: bytes) -> bytes:
    """``data`` with the digest that it would have."""
    return data + hashlib.blake2b(data, digest_size=DIGEST).digest()


@pytest.fixture(name="small", scope="module")
def _small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return stored(SMALL, tmp_path_factory.mktemp("trace"))


@pytest.mark.parametrize("trace", [SMALL, trace_of(), trace_of({}, start={})])
def test_what_was_written_is_read(trace: Trace, tmp_path: Path) -> None:
    data = stored(trace, tmp_path)
    found = read_trace(tmp_path / "trace")
    read = found.trace
    assert read == trace
    assert bytes(found.facts) == FACTS
    assert (found.digest, found.size) == (data[-DIGEST:], len(data))
    assert read.records.dtype == RECORD
    assert not read.records.flags.writeable
    # And the same again.
    assert stored(read, tmp_path) == data


def test_the_file_is_what_the_documentation_says(small: bytes) -> None:
    magic, header, _ = small.split(b"\n", 2)
    assert magic == b"relokit trace 2"
    columns = json.loads(header)["columns"]
    at = len(magic) + len(header) + 2
    assert small[at : at + json.loads(header)["facts"]] == FACTS
    at += len(FACTS)
    for name, kind in columns:
        column = np.frombuffer(small, kind, len(SMALL.records), at)
        assert column.tolist() == SMALL.records[name].tolist()
        at += column.nbytes
    assert small[at:] == hashlib.blake2b(small[:at], digest_size=DIGEST).digest()


def test_traces_differ_by_each_part_of_them() -> None:
    others = [
        trace_of({}, {}),
        trace_of({"va": 1}),
        trace_of({}, start={"PC": 0}),
        trace_of({}, instructions=99),
        trace_of({}, full_at=5),
        None,
    ]
    assert trace_of({}) == trace_of({})
    assert all(trace_of({}) != other for other in others)


@given(data=st.data())
def test_a_file_that_was_altered_is_refused(data: st.DataObject, small: bytes) -> None:
    altered = bytearray(small)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(altered)))
        kind = data.draw(st.sampled_from(["change", "remove", "insert", "cut"]))
        if kind == "change" and at < len(altered):
            altered[at] = data.draw(st.integers(0, 255))
        elif kind == "remove":
            del altered[at : at + data.draw(st.integers(1, 40))]
        elif kind == "insert":
            altered[at:at] = data.draw(st.binary(max_size=40))
        else:
            del altered[at:]
    if altered == small:
        assert parse_trace(bytes(altered), where="x").trace == SMALL
        return
    with pytest.raises(FormatError) as caught:
        parse_trace(bytes(altered), where="x")
    assert caught.value.where == "x"


@given(st.binary(max_size=300))
@example(b"")
def test_whatever_follows_the_first_line_is_refused_or_a_trace(rest: bytes) -> None:
    for data in (rest, TRACE_MAGIC + rest, sealed(TRACE_MAGIC + rest)):
        with pytest.raises(FormatError):
            parse_trace(data, where="x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


KEYS = ["columns", "facts", "full_at", "instructions", "records", "start"]


@given(key=st.sampled_from(KEYS), value=JSON)
@example(key="records", value=1 << 60)
@example(key="facts", value=-1)
@example(key="facts", value=1 << 60)
@example(key="records", value=True)
@example(key="instructions", value=-1)
@example(key="start", value={"PC": 2**64})
@example(key="start", value={"PC": 1.0})
def test_a_header_of_another_kind_is_refused_or_a_trace(key: str, value: Any, small: bytes) -> None:
    """With the right digest: as someone would write it who wants to get past that."""
    first, header, rest = small.split(b"\n", 2)
    changed = json.loads(header) | {key: value}
    data = sealed(b"\n".join([first, json.dumps(changed).encode(), rest[:-DIGEST]]))
    try:
        read = parse_trace(data, where="x").trace
    except FormatError:
        return
    assert read.instructions >= 9
    assert all(type(one) is int and 0 <= one < 2**64 for one in read.start.values())


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"kind": 0}, "kind"),
        ({"kind": 24}, "kind"),
        ({"flags": 1}, "flag"),
        ({"flags": 1 << 14}, "flag"),
        ({"attributes": 1 << 11}, "attributes"),
        ({"el": 4}, "exception level"),
        ({"count": 0}, "of nothing"),
        ({"va": 2**64 - 7}, "last VA"),
        ({"pa": 2**64 - 7}, "last PA"),
        ({"flags": TraceFlag.NO_PA, "pa": 0}, "has no PA"),
        ({"before": 101}, "not begun"),
    ],
)
def test_a_record_that_no_recorder_writes_is_refused(
    row: dict[str, int], problem: str, tmp_path: Path
) -> None:
    stored(trace_of({}, row), tmp_path)
    with pytest.raises(FormatError, match=f"record 1 .*{problem}"):
        read_trace(tmp_path / "trace")


def test_records_out_of_order_are_refused(tmp_path: Path) -> None:
    stored(trace_of({"before": 5}, {"before": 5}, {"before": 4}), tmp_path)
    with pytest.raises(FormatError, match="record 2 is out of order"):
        read_trace(tmp_path / "trace")


@pytest.mark.parametrize("last", [{"va": 2**64 - 8}, {"pa": 2**64 - 8}])
def test_the_last_bytes_there_are_may_be_accessed(last: dict[str, int], tmp_path: Path) -> None:
    stored(trace_of(last), tmp_path)
    assert len(read_trace(tmp_path / "trace").trace.records) == 1


def test_a_header_without_end_takes_no_memory() -> None:
    data = TRACE_MAGIC + b"x" * (64 << 20)
    tracemalloc.start()
    with pytest.raises(FormatError, match=f"within {MAX_HEADER} bytes"):
        parse_trace(data, where="x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MAX_HEADER


def test_a_header_that_promises_much_takes_no_memory(small: bytes) -> None:
    first, header, rest = small.split(b"\n", 2)
    changed = json.loads(header) | {"records": 1 << 24}
    data = sealed(b"\n".join([first, json.dumps(changed).encode(), rest[:-DIGEST]]))
    tracemalloc.start()
    with pytest.raises(FormatError, match="are not those of 16777216 records"):
        parse_trace(data, where="x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_no_more_facts_are_written_than_are_read() -> None:
    with pytest.raises(FormatError, match="16,777,217 bytes of facts"):
        list(trace_chunks(SMALL, bytes(MAX_FACTS + 1)))


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (b"relokit trace 1\n", "version '1', not 2"),
        (b"relokit trace 23\n", "version '23', not 2"),
        (b"relokit", "no trace"),
        (b"\x7fELF", "no trace"),
    ],
)
def test_another_file_is_refused_by_its_version(first: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        parse_trace(first + bytes(100), where="x")


def test_deep_json_is_refused(small: bytes) -> None:
    data = sealed(TRACE_MAGIC + b"[" * 60_000 + b"\n")
    with pytest.raises(FormatError, match="no JSON"):
        parse_trace(data, where="x")


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatError):
        read_trace(tmp_path / name)
