"""What the C half maintains, held against a walk of the list in guest memory and the patches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.documents import from_json, to_json
from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.codegen.series import COMPLETE, Feature
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import destination
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.kexec.kimage import (
    IND_DONE,
    IND_INDIRECTION,
    KexecSegment,
    Kimage,
    build_kimage,
    total_pages,
)
from relokit.runtime.kexec.maintenance import Maintenance, What, When, lines_of, maintenance_of
from relokit.runtime.run.verdict import run
from support.machines import programs

RAM = 0x4000_0000
DESTINATION = RAM + 32 * MIB


@contextmanager
def kimage_of(
    target: Target, sizes: list[int], *, in_place: bool = False
) -> Iterator[tuple[GuestMemory, Kimage]]:
    """A kimage with segments of ``sizes`` bytes in guest memory."""
    page = target.page_size
    memory = GuestMemory(RAM, 64 * MIB)
    try:
        allocator = PageAllocator(memory, page)
        segments, at = [], DESTINATION
        for number, size in enumerate(sizes):
            segments.append(KexecSegment(str(number), at, size, size))
            at += -(-size // page) * page
        allocator.reserve(destination(0, "destinations"), DESTINATION, at - DESTINATION)
        count = 0 if in_place else total_pages(segments, page)
        sources = allocator.scatter(destination(0, "sources"), count, page, 0)
        kimage = build_kimage(
            memory,
            allocator,
            target.layout,
            segments,
            sources,
            page,
            start=DESTINATION,
            linear_offset=0,
            in_place=in_place,
        )
        yield memory, kimage
    finally:
        memory.close()


def list_word_pas(memory: GuestMemory, kimage: Kimage) -> list[int]:
    """PA of every list word, by following the list one word at a time."""
    pas = [kimage.pa + kimage.layout.head]
    word = memory.read_u64(pas[0])
    at = 0
    while not word & IND_DONE:
        at = word & -kimage.page_size if word & IND_INDIRECTION else at + 8
        pas.append(at)
        word = memory.read_u64(at)
    return pas


def rows(target: Target, kimage: Kimage, *, crash: bool = False) -> dict[What, Maintenance]:
    found = maintenance_of(target, kimage, code=276, crash=crash)
    assert len({row.what for row in found}) == len(found)
    return {row.what: row for row in found}


@given(
    page=st.sampled_from([4096, 16384, 65536]),
    line=st.sampled_from([16, 64, 128, 2048]),
    sizes=st.lists(st.integers(1, 3 * MIB), min_size=1, max_size=4),
)
@settings(max_examples=60)
def test_list_and_sources_are_those_of_an_independent_walk(
    page: int, line: int, sizes: list[int]
) -> None:
    target = Target(series=0, page_size=page, cache_line=line)
    with kimage_of(target, sizes) as (memory, kimage):
        found = rows(target, kimage)
        pas = np.array(list_word_pas(memory, kimage), dtype=np.uint64)
        words = found[What.LIST]
        assert words.instructions == len(pas)
        assert words.bytes == 8 * len(pas)
        assert words.lines == len(np.unique(pas // np.uint64(line)))
        pages = sum(-(-size // page) for size in sizes)
        sources = found[What.SOURCES]
        assert (sources.bytes, sources.lines) == (pages * page, pages * page // line)
        assert sources.instructions == sources.lines


def test_a_list_that_ends_with_its_page() -> None:
    # 510 sources behind their destination fill a page but for the slot that IND_DONE takes.
    target = Target(series=0)
    with kimage_of(target, [510 * 4096]) as (memory, kimage):
        assert len(list_word_pas(memory, kimage)) == rows(target, kimage)[What.LIST].instructions
        assert rows(target, kimage)[What.LIST].lines == 64 + 1
    with kimage_of(target, [511 * 4096]) as (memory, kimage):
        assert len(list_word_pas(memory, kimage)) == rows(target, kimage)[What.LIST].instructions


@pytest.mark.parametrize(
    ("start", "size", "line", "lines"),
    [(0, 0, 64, 0), (0, 1, 64, 1), (63, 1, 64, 1), (63, 2, 64, 2), (0, 64, 64, 1), (8, 64, 64, 2)],
)
def test_lines_of_a_range(start: int, size: int, line: int, lines: int) -> None:
    assert lines_of(start, size, line) == lines


LISTED = {What.LIST, What.SOURCES}


@pytest.mark.parametrize("state", range(COMPLETE + 1))
@pytest.mark.parametrize("regime", Regime)
def test_what_is_maintained_when_in_each_state(state: int, regime: Regime) -> None:
    target = Target(series=state, regime=regime)
    with kimage_of(target, [5 * MIB, 1]) as (_, kimage):
        found = rows(target, kimage)
    expected = {What.CODE: When.LOAD}
    if state <= 12:
        expected |= dict.fromkeys(LISTED, When.LOAD if state >= 4 else When.JUMP)
    if 7 <= state <= 12:
        expected[What.KIMAGE] = When.LOAD
    if state >= 8 and regime is Regime.NVHE:
        expected[What.VECTORS] = When.LOAD
    assert {what: row.when for what, row in found.items()} == expected


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("state", range(COMPLETE + 1))
def test_what_is_maintained_in_place(state: int, crash: bool) -> None:
    target = Target(series=state, regime=Regime.EL1)
    with kimage_of(target, [5 * MIB + 1], in_place=True) as (_, kimage):
        found = rows(target, kimage, crash=crash)
    segments = found[What.SEGMENTS]
    assert segments.when is (When.LOAD if state >= 4 or crash else When.JUMP)
    assert (segments.bytes, segments.lines) == (5 * MIB + 1, 5 * MIB // 64 + 1)
    if state >= 5:
        assert set(found) == {What.SEGMENTS}
    else:
        assert set(found) == {What.SEGMENTS, What.CODE, What.LIST}
        assert found[What.LIST].instructions == 1


def test_rows_come_in_the_order_they_happen() -> None:
    target = Target(series=3)
    with kimage_of(target, [MIB]) as (_, kimage):
        when = [row.when for row in maintenance_of(target, kimage, code=192, crash=False)]
    assert when == [When.LOAD, When.JUMP, When.JUMP]


def test_without_a_place_in_kimage_the_code_is_copied_at_the_jump() -> None:
    for state, when in ((0, When.JUMP), (3, When.JUMP), (4, When.LOAD)):
        target = Target(series=state, layout=LAYOUTS["5.10"])
        with kimage_of(target, [MIB]) as (_, kimage):
            assert rows(target, kimage)[What.CODE].when is when


def test_sizes_of_the_fixed_rows() -> None:
    target = Target(series=12, layout=LAYOUTS["7.2"])
    with kimage_of(target, [MIB]) as (_, kimage):
        found = rows(target, kimage)
    code, vectors, struct = found[What.CODE], found[What.VECTORS], found[What.KIMAGE]
    assert (code.bytes, code.lines, code.instructions) == (276, 5, 5)
    assert (vectors.bytes, vectors.lines, vectors.instructions) == (0x800, 32, 64)
    assert (struct.bytes, struct.lines) == (0x380, 14)


def outcome(target: Target, job: Job) -> Outcome:
    return run(target, programs(target), job, lambda *_: None)


def test_the_outcome_carries_them_through_json() -> None:
    result = outcome(Target(series=7), Job(shape=Shape.GAPS))
    by_name = {row.what: row for row in result.maintenance}
    assert by_name[What.SOURCES].bytes == result.relocation.bytes
    assert from_json(Outcome, to_json(result)).maintenance == result.maintenance
    assert outcome(Target(series=7), Job(path=KexecPath.HIBERNATE)).maintenance == ()


def test_a_crash_image_is_told_from_one_that_is_in_place() -> None:
    target = Target(series=0)
    for path, when in ((KexecPath.CRASH, When.LOAD), (KexecPath.IN_PLACE, When.JUMP)):
        found = {row.what: row for row in outcome(target, Job(path=path)).maintenance}
        assert found[What.SEGMENTS].when is when
    assert not target.has(Feature.FLUSH_AT_LOAD)
