"""The ledger: who owns what, overlaps refused by name, pages as kexec finds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.order import Order
from relokit.runtime.guest.owner import destination

BASE = 0x4000_0000
SIZE = 16 << 20
PAGE = 4096


def _allocator(page_size: int = PAGE) -> PageAllocator:
    return PageAllocator(GuestMemory(BASE, SIZE), page_size)


def test_owner_answers_for_every_byte() -> None:
    allocator = _allocator()
    allocator.reserve(destination(0, "old kernel"), BASE + 0x20_0000, 0x1000)
    allocator.reserve(destination(0, "device tree"), BASE + 0x20_1000, 0x800)
    assert allocator.owner(BASE + 0x1F_FFFF) is None
    for pa, name in (
        (0x20_0000, "old kernel"),
        (0x20_0FFF, "old kernel"),
        (0x20_1000, "device tree"),
    ):
        owner = allocator.owner(BASE + pa)
        assert owner
        assert str(owner.owner) == f"destination: {name}"
    assert allocator.owner(BASE + 0x20_1800) is None


@pytest.mark.parametrize(
    ("offset", "size"), [(0x1000, 1), (0xFFF, 2), (0x1FFF, 0x1000), (0, 0x4000), (0x1800, 0x10)]
)
def test_an_overlap_names_both(offset: int, size: int) -> None:
    allocator = _allocator()
    allocator.reserve(destination(0, "kernel text"), BASE + 0x1000, 0x1000)
    with pytest.raises(MachineError, match=r"initrd: .* overlaps .*: kernel text") as caught:
        allocator.reserve(destination(0, "initrd"), BASE + offset, size)
    assert caught.value.hint


def test_neighbours_do_not_overlap() -> None:
    allocator = _allocator()
    allocator.reserve(destination(0, "b"), BASE + 0x1000, 0x1000)
    allocator.reserve(destination(0, "a"), BASE, 0x1000)
    allocator.reserve(destination(0, "c"), BASE + 0x2000, 0x1000)
    assert [region.owner.label for region in allocator.regions] == ["a", "b", "c"]
    assert [r.owner.label for r in allocator.overlapping(BASE + 0xFFF, 2)] == ["a", "b"]
    assert allocator.free_bytes == SIZE - 0x3000


@pytest.mark.parametrize(
    ("base", "size"), [(BASE - 1, 2), (BASE + SIZE - 1, 2), (BASE, 0), (BASE, -1), (0, 4096)]
)
def test_what_is_not_ram_is_refused(base: int, size: int) -> None:
    with pytest.raises(MachineError, match="kernel"):
        _allocator().reserve(destination(0, "kernel"), base, size)


def test_allocations_are_aligned_and_never_given_twice() -> None:
    allocator = _allocator()
    allocator.reserve(destination(0, "low"), BASE, 0x800)
    first = allocator.alloc(destination(0, "a"), 5000)
    second = allocator.alloc(destination(0, "b"), 1, align=1 << 20)
    third = allocator.alloc(destination(0, "c"), PAGE)
    assert (first.base, first.size) == (BASE + 0x1000, 0x2000)
    assert (second.base, second.size) == (BASE + (1 << 20), PAGE)
    assert third.base == first.end
    with pytest.raises(MachineError, match="table: an allocation of 0 bytes"):
        allocator.alloc(destination(0, "table"), 0)


def test_running_out_says_how_much_is_left() -> None:
    allocator = _allocator()
    allocator.reserve(destination(0, "all but a page"), BASE, SIZE - PAGE)
    with pytest.raises(MachineError, match="tables: no room for 0x2000 bytes; 0x1000 of"):
        allocator.alloc(destination(0, "tables"), 2 * PAGE)
    with pytest.raises(MachineError, match="source pages: no room"):
        allocator.scatter(destination(0, "source pages"), 2, PAGE, seed=0)


def test_the_seed_decides_the_order_and_the_pages_are_the_same() -> None:
    shuffled = _allocator().scatter(destination(0, "s"), 500, PAGE, seed=1)
    again = _allocator().scatter(destination(0, "s"), 500, PAGE, seed=1)
    other = _allocator().scatter(destination(0, "s"), 500, PAGE, seed=2)
    plain = _allocator().scatter(destination(0, "s"), 500, PAGE, seed=1, order=Order.IN_ORDER)
    backwards = _allocator().scatter(destination(0, "s"), 500, PAGE, seed=1, order=Order.REVERSED)
    assert shuffled.tolist() == again.tolist() != other.tolist()
    assert sorted(shuffled.tolist()) == plain.tolist() == backwards.tolist()[::-1]
    assert plain.tolist() == list(range(BASE, BASE + 500 * PAGE, PAGE))
    assert shuffled.tolist() != plain.tolist()
    assert shuffled.dtype == np.uint64


def test_an_arena_is_contiguous_where_a_gap_holds_it_and_split_where_none_does() -> None:
    allocator = _allocator()
    allocator.reserve(destination(0, "kernel"), BASE + 10 * PAGE, PAGE)
    arena = allocator.scatter(destination(0, "arena"), 11, PAGE, seed=0, order=Order.IN_ORDER)
    assert arena[0] == BASE + 11 * PAGE
    assert (np.diff(arena) == PAGE).all()
    allocator.reserve(destination(0, "rest"), BASE + 40 * PAGE, SIZE - 40 * PAGE)
    split = allocator.scatter(destination(0, "split"), 20, PAGE, seed=0, order=Order.IN_ORDER)
    assert split.tolist() == [
        *range(BASE, BASE + 10 * PAGE, PAGE),
        *range(BASE + 22 * PAGE, BASE + 32 * PAGE, PAGE),
    ]
    assert [r.owner.label for r in allocator.regions].count("split") == 2


def test_no_pages_is_no_region() -> None:
    allocator = _allocator()
    assert len(allocator.scatter(destination(0, "none"), 0, PAGE, seed=0)) == 0
    assert allocator.regions == ()
    with pytest.raises(MachineError, match="-1 pages"):
        allocator.scatter(destination(0, "negative"), -1, PAGE, seed=0)


Taken = st.lists(st.tuples(st.integers(0, SIZE), st.integers(1, 1 << 18)), max_size=12)


@given(taken=Taken, count=st.integers(0, 200), page=st.sampled_from([4096, 16384, 65536]))
def test_scattered_pages_are_nobody_elses(
    taken: list[tuple[int, int]], count: int, page: int
) -> None:
    allocator = _allocator(page)
    owned = np.zeros(SIZE, dtype=np.bool_)
    for at, size in taken:
        free = at + size <= SIZE and not owned[at : at + size].any()
        if free:
            allocator.reserve(destination(0, f"r{at}"), BASE + at, size)
            owned[at : at + size] = True
        else:
            with pytest.raises(MachineError):
                allocator.reserve(destination(0, f"r{at}"), BASE + at, size)
    room = int((~owned.reshape(-1, page).any(axis=1)).sum())
    if count > room:
        with pytest.raises(MachineError, match="no room"):
            allocator.scatter(destination(0, "pages"), count, page, seed=3)
        return
    pages = allocator.scatter(destination(0, "pages"), count, page, seed=3)
    assert len(set(pages.tolist())) == count
    for pa in pages.tolist():
        assert pa % page == 0
        assert not owned[pa - BASE : pa - BASE + page].any()
        owner = allocator.owner(pa)
        assert owner
        assert owner.owner == destination(0, "pages")


def test_what_was_taken_is_no_gap_and_what_is_closed_is_not_handed_out() -> None:
    allocator = PageAllocator(GuestMemory(BASE, SIZE), PAGE, ((BASE + PAGE, 2 * PAGE),))
    allocator.reserve(destination(0, "over both"), BASE + 2 * PAGE, 2 * PAGE)
    assert list(allocator.gaps()) == [(BASE, BASE + 2 * PAGE), (BASE + 4 * PAGE, BASE + SIZE)]
    assert allocator.free_bytes == SIZE - 3 * PAGE
    assert allocator.alloc(destination(1, "a page"), PAGE).base == BASE
    assert allocator.alloc(destination(2, "another"), PAGE).base == BASE + 4 * PAGE
