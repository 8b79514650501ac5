"""Pages of the host that go from one guest to the next: zero where that is asked for."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from relokit.runtime.guest import host_pages
from relokit.runtime.guest.content import PatternContent, scatter_into, verify
from relokit.runtime.guest.host_pages import HUGE_PAGE, KEPT
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import Owner, OwnerKind

BASE = 0x4000_0000
SIZE = 8 * HUGE_PAGE
PAGE = 4096


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> host_pages._Pool:
    """One that nobody else has given to."""
    pool = host_pages._Pool()
    monkeypatch.setattr(host_pages, "_pool", pool)
    return pool


def used_guest(size: int = SIZE, byte: int = 0xA5) -> None:
    """A guest that is full of ``byte``, and gone."""
    with GuestMemory(BASE, 2 * size) as memory:
        memory.fill(BASE + PAGE, size)
        memory.ram[:] = byte


def test_what_the_last_guest_wrote_is_not_in_the_next_one(pool: host_pages._Pool) -> None:
    used_guest()
    held = pool._held
    assert held >= SIZE - 2 * HUGE_PAGE
    with GuestMemory(BASE, 2 * SIZE) as memory:
        memory.fill(BASE, SIZE)
        assert pool._held < held
        assert not memory.ram.any()


def test_pages_without_zeros_are_those_of_the_last_guest_and_only_those(
    pool: host_pages._Pool,
) -> None:
    used_guest()
    with GuestMemory(BASE, 3 * SIZE) as memory:
        memory.fill(BASE + SIZE, SIZE, zero=False)
        assert 0xA5 in memory.view(BASE + SIZE, SIZE)
        assert not memory.view(BASE, SIZE).any()
        assert not memory.view(BASE + 2 * SIZE, SIZE).any()


def test_scattered_pages_are_written_whole_whatever_they_held(pool: host_pages._Pool) -> None:
    content = PatternContent(SIZE - 12345)
    found = []
    for byte in (0x00, 0xFF):
        used_guest(byte=byte)
        with GuestMemory(BASE, 4 * SIZE) as memory:
            allocator = PageAllocator(memory, PAGE)
            owner = Owner(OwnerKind.SOURCES)
            pages = allocator.scatter(owner, SIZE // PAGE, PAGE, 1, zero=False)
            scatter_into(memory, pages, PAGE, content)
            found.append(memory.ram.copy())
            memory.view(BASE + 2 * SIZE, SIZE)[:] = memory.pages(PAGE)[
                (pages - np.uint64(BASE)) // PAGE
            ].reshape(-1)
            assert verify(memory, BASE + 2 * SIZE, SIZE, PAGE, content).ok
    assert (found[0] == found[1]).all()


def test_a_view_that_outlives_its_guest_keeps_its_bytes(pool: host_pages._Pool) -> None:
    memory = GuestMemory(BASE, SIZE)
    memory.fill(BASE, SIZE)
    memory.ram[:] = 7
    view = memory.view(BASE, SIZE)
    memory.close()
    assert not pool._held
    assert (view == 7).all()
    del view
    gc.collect()
    assert pool._held


def test_no_more_is_kept_than_may_be(pool: host_pages._Pool) -> None:
    size = KEPT // 2 + 2 * HUGE_PAGE
    with GuestMemory(BASE, size) as one, GuestMemory(BASE, size) as other:
        one.fill(BASE, size)
        other.fill(BASE, size)
    assert pool._held == KEPT


def test_a_host_that_moves_no_pages_gives_new_ones(
    pool: host_pages._Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_pages, "_moved", lambda *_: False)
    used_guest()
    assert not pool._held
    with GuestMemory(BASE, SIZE) as memory:
        memory.fill(BASE, SIZE, zero=False)
        assert not memory.ram.any()
