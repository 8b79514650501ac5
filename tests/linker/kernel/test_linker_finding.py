"""Bytes found by native code, against what Python's own bytes find."""

from __future__ import annotations

import mmap
from array import array
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base import native
from relokit.linker.kernel.finding import find, occurrences

# Few values, so that needles occur, and such on which a carry between bytes would show.
BYTES = st.binary(max_size=60).map(lambda data: bytes(b"\0\1\x80\xff"[one & 3] for one in data))


@given(BYTES, BYTES.filter(bool).map(lambda data: data[:5]), st.integers(0, 70), st.integers(0, 9))
def test_a_needle_is_found_where_python_finds_it(
    content: bytes, needle: bytes, start: int, skipped: int
) -> None:
    # Whatever the alignment.
    view = memoryview(content)[skipped:]
    expected = bytes(view).find(needle, start)
    assert find(view, needle, start) == (expected if start <= len(view) else -1)


@given(BYTES, BYTES.filter(bool).map(lambda data: data[:2]))
def test_occurrences_do_not_overlap(content: bytes, needle: bytes) -> None:
    places = list(occurrences(memoryview(content), needle))
    assert len(places) == content.count(needle)
    assert all(content[at : at + len(needle)] == needle for at in places)


def test_nothing_is_found_for_nothing() -> None:
    assert find(memoryview(b"abc"), b"") == -1
    assert find(memoryview(b""), b"a") == -1


def test_the_end_of_a_mapping_is_not_passed(tmp_path: Path) -> None:
    """Of a file of whole pages nothing is mapped behind the last byte."""
    path = tmp_path / "pages"
    path.write_bytes(bytes(mmap.PAGESIZE - 1) + b"x")
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    assert find(view, b"x") == mmap.PAGESIZE - 1
    assert find(view, b"xy") == -1
    assert find(view[5:], b"y") == -1


def test_read_only_and_writable_memory_have_places() -> None:
    numbers = array("Q", [1, 2, 3])
    assert native.place(numbers) == numbers.buffer_info()[0]
    view = memoryview(bytes(100))
    assert native.place(view[7:]) == native.place(view) + 7
