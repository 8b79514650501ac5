"""Content arrives in the pages it was meant for, and any byte that is not right is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import open_file
from relokit.runtime.guest.content import (
    PIECE,
    BytesContent,
    Content,
    FileContent,
    Mismatch,
    PatternContent,
    scatter_into,
    verify,
)
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import destination

BASE = 0x4000_0000
MIB = 1 << 20


def _read(content: Content, offset: int, size: int) -> bytes:
    out = np.empty(size, dtype=np.uint8)
    content.read(offset, out)
    return out.tobytes()


def _scattered(
    content: Content, memsz: int, page: int = 4096, ram: int = MIB, seed: int = 0
) -> tuple[GuestMemory, list[int]]:
    memory = GuestMemory(BASE, ram)
    memory.ram[:] = 0xEE
    allocator = PageAllocator(memory, page)
    pages = allocator.scatter(destination(0, "sources"), -(-memsz // page), page, seed)
    scatter_into(memory, pages, page, content)
    return memory, pages.tolist()


def _gathered(memory: GuestMemory, pages: list[int], page: int) -> bytes:
    return b"".join(memory.read(pa, page) for pa in pages)


@given(
    data=st.binary(max_size=40_000),
    extra=st.integers(0, 20_000),
    page=st.sampled_from([4096, 16384, 65536]),
    seed=st.integers(0, 1000),
)
def test_pages_hold_the_content_in_their_order_and_zeros_after_it(
    data: bytes, extra: int, page: int, seed: int
) -> None:
    memsz = len(data) + extra
    memory, pages = _scattered(BytesContent(data), memsz, page, seed=seed)
    expected = data + bytes(len(pages) * page - len(data))
    assert _gathered(memory, pages, page) == expected
    others = set(range(BASE, BASE + MIB, page)) - set(pages)
    assert all(not memory.view(pa, page).tobytes().strip(b"\xee") for pa in others)


@given(
    size=st.integers(1, 60_000),
    extra=st.integers(0, 9000),
    page=st.sampled_from([4096, 16384]),
    where=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_one_flipped_bit_is_found_where_it_is(
    size: int, extra: int, page: int, where: float, bit: int
) -> None:
    content = PatternContent(size, seed=9)
    memory, _ = _in_place(content, size + extra, page)
    total = -(-(size + extra) // page) * page
    assert verify(memory, BASE, size + extra, page, content).ok
    at = int(where * total)
    right = memory.read(BASE + at, 1)[0]
    memory.write(BASE + at, bytes([right ^ 1 << bit]))
    found = verify(memory, BASE, size + extra, page, content)
    assert found.first == Mismatch(at, right, right ^ 1 << bit)
    assert (found.bad_pages, found.pages) == (1, total // page)
    assert not found.ok


def _in_place(content: Content, memsz: int, page: int) -> tuple[GuestMemory, int]:
    memory = GuestMemory(BASE, 32 * MIB)
    pages = np.uint64(BASE) + np.arange(-(-memsz // page), dtype=np.uint64) * np.uint64(page)
    scatter_into(memory, pages, page, content)
    return memory, len(pages)


def test_bad_pages_are_counted_across_chunks_and_the_first_byte_kept() -> None:
    size = 2 * PIECE + 12_345
    content = PatternContent(size)
    memory, pages = _in_place(content, size, 4096)
    for at in (PIECE + 5, PIECE + 7, PIECE + 4096, size - 1):
        memory.view(BASE + at, 1)[0] ^= 0x10
    found = verify(memory, BASE, size, 4096, content)
    assert found.first
    assert found.first.offset == PIECE + 5
    assert (found.bad_pages, found.pages) == (3, pages)


def test_swapped_pages_and_swapped_lines_are_found() -> None:
    content = PatternContent(64 * 4096)
    for page, first, second in ((4096, 3, 40), (64, 3, 40), (64, 1, 65)):
        memory, _ = _in_place(content, content.size, 4096)
        one = memory.read(BASE + first * page, page)
        other = memory.read(BASE + second * page, page)
        memory.write(BASE + first * page, other)
        memory.write(BASE + second * page, one)
        found = verify(memory, BASE, content.size, 4096, content)
        assert found.first
        assert found.first.offset // page == first


def test_no_two_words_of_a_pattern_are_alike_and_the_seed_changes_all() -> None:
    content = PatternContent(8 * MIB)
    words = np.frombuffer(_read(content, 0, content.size), dtype=np.uint64)
    assert len(np.unique(words)) == len(words)
    other = np.frombuffer(_read(PatternContent(8 * MIB, seed=1), 0, 8 * MIB), dtype=np.uint64)
    assert not (words == other).any()
    assert _read(PatternContent(100, seed=1), 0, 100) == other.tobytes()[:100]


def test_the_pattern_is_fixed_for_good() -> None:
    # Runs on different machines and versions are compared by it.
    assert _read(PatternContent(1 << 20, 7), 0x12345, 8).hex() == "7b67a47e61a42c5c"


@given(offset=st.integers(0, 30_000), size=st.integers(0, 20_000))
def test_a_pattern_read_in_pieces_is_the_same_pattern(offset: int, size: int) -> None:
    content = PatternContent(50_000, seed=3)
    whole = _read(content, 0, 50_000)
    assert _read(content, offset, size) == whole[offset : offset + size]


@pytest.mark.parametrize("page", [4096, 65536])
def test_progress_goes_up_to_the_end(page: int) -> None:
    size = 3 * PIECE - 100
    content = PatternContent(size)
    memory = GuestMemory(BASE, 16 * MIB)
    pages = PageAllocator(memory, page).scatter(
        destination(0, "sources"), -(-size // page), page, 0
    )
    seen: list[tuple[int, int]] = []
    scatter_into(memory, pages, page, content, lambda done, total: seen.append((done, total)))
    total = len(pages) * page
    assert seen == [(PIECE, total), (2 * PIECE, total), (total, total)]
    again: list[tuple[int, int]] = []
    verify(memory, BASE, size, page, content, lambda done, total: again.append((done, total)))
    assert again == seen


def test_pages_that_are_not_ram_are_refused() -> None:
    memory = GuestMemory(BASE, MIB)
    for bad in (BASE - 4096, BASE + MIB, BASE + 8, 0):
        with pytest.raises(MachineError, match=f"{bad:#x} is not a 0x1000-byte page"):
            scatter_into(memory, np.array([BASE, bad], dtype=np.uint64), 4096, BytesContent(b""))
    with pytest.raises(MachineError, match="0x1001 bytes of content for 1 pages"):
        scatter_into(memory, np.array([BASE], dtype=np.uint64), 4096, BytesContent(bytes(4097)))
    with pytest.raises(MachineError, match="not RAM"):
        verify(memory, BASE + MIB - 4096, 8192, 4096, BytesContent(b""))
    with pytest.raises(MachineError, match="to find in 0x1000 bytes"):
        verify(memory, BASE, 4096, 4096, BytesContent(bytes(4097)))
    with pytest.raises(MachineError, match="-1 bytes"):
        PatternContent(-1)


def test_nothing_to_copy_is_nothing_wrong() -> None:
    memory = GuestMemory(BASE, MIB)
    scatter_into(memory, np.empty(0, dtype=np.uint64), 4096, BytesContent(b""))
    found = verify(memory, BASE, 0, 4096, BytesContent(b""))
    assert (found.ok, found.pages, found.bad_pages) == (True, 0, 0)


@pytest.mark.parametrize("size", [2 * PIECE, 2 * PIECE + 4096, 2 * PIECE + 5, 4097, 1])
def test_of_a_file_nothing_is_held_that_was_moved_or_compared(size: int, tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    data = np.random.default_rng(size).bytes(size)
    path.write_bytes(data)
    content = FileContent(open_file(path, what="an initrd", limit=1 << 30))
    assert _read(content, 0, size) == data
    assert _held(path) > size // 2  # all of it, if the host has it in its cache
    memory, pages = _scattered(content, size, ram=4 * PIECE)
    assert _gathered(memory, pages, 4096)[:size] == data
    assert _held(path) <= LAST
    memory.view(BASE, size)[:] = np.frombuffer(data, np.uint8)
    memory.view(BASE + size, -size % 4096)[:] = 0
    assert verify(memory, BASE, size, 4096, content).ok
    assert _held(path) <= LAST
    # What was given back is what it was.
    memory.view(BASE, 1)[:] ^= 1
    assert verify(memory, BASE, size, 4096, content).first == Mismatch(0, data[0], data[0] ^ 1)


LAST = 1 << 16
"""Bytes that the host maps at once around the end of a file, whose last page is not whole."""


def _held(path: Path) -> int:
    """Bytes of the file that are mapped into this process."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.endswith(str(path)))
    return 1024 * next(int(line.split()[1]) for line in lines[at:] if line.startswith("Rss:"))


@pytest.mark.parametrize("size", [4, 4096, 5000, 65536])
def test_a_hollow_page_begins_with_the_only_zero_that_it_has(size: int) -> None:
    content, solid = PatternContent(size, 7, hollow=True), PatternContent(size, 7)
    words = np.frombuffer(_read(content, 0, max(size & -8, 8)), dtype=np.uint64)
    assert words[0] == 0
    assert (words[1:] != 0).all()
    # New RAM can be taken for it.
    assert (content.without_zeros, solid.without_zeros) == (0, size & -8)
    assert _read(content, 4096, 904) == _read(solid, 4096, 904)
