"""Guest RAM: views, bounds, and sizes that cannot be had."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.runtime.guest.memory import GuestMemory, host_limit

BASE = 0x4000_0000
SIZE = 1 << 20


@pytest.fixture(name="ram")
def _ram() -> Iterator[GuestMemory]:
    with GuestMemory(BASE, SIZE) as memory:
        yield memory


def test_ram_starts_as_zeros_and_every_view_shows_the_same_bytes(ram: GuestMemory) -> None:
    assert not ram.ram.any()
    ram.write_u64(BASE + 8, 0x1122334455667788)
    assert ram.read(BASE + 8, 8) == bytes.fromhex("8877665544332211")
    assert ram.u64(BASE, 2)[1] == 0x1122334455667788
    ram.u64(BASE, 2)[1] = 7
    assert ram.read_u64(BASE + 8) == 7
    ram.view(BASE + 15, 1)[0] = 0x80
    assert ram.read_u64(BASE + 8) == 7 | 1 << 63
    assert ram.pages(4096)[0, 8] == 7


def test_the_host_address_is_that_of_the_first_byte(ram: GuestMemory) -> None:
    ram.write(BASE, b"relokit")
    assert ctypes.string_at(ram.address, 7) == b"relokit"
    assert ram.address % 4096 == 0


def test_words_are_stored_modulo_2_64_and_need_no_alignment(ram: GuestMemory) -> None:
    ram.write_u64(BASE + 3, -1)
    assert ram.read_u64(BASE + 3) == (1 << 64) - 1


@given(offset=st.integers(-(1 << 21), 1 << 21), size=st.integers(-8, 1 << 21))
def test_bounds_are_those_of_the_range(offset: int, size: int) -> None:
    memory = GuestMemory(BASE, SIZE)
    inside = offset >= 0 and size >= 0 and offset + size <= SIZE
    assert memory.contains(BASE + offset, size) == inside
    if inside:
        assert len(memory.view(BASE + offset, size)) == size
    else:
        with pytest.raises(MachineError, match=f"{BASE + offset:#x}"):
            memory.view(BASE + offset, size)


def test_accesses_outside_name_the_address(ram: GuestMemory) -> None:
    for access in (
        lambda: ram.read(BASE + SIZE - 4, 8),
        lambda: ram.write(BASE + SIZE - 4, bytes(8)),
        lambda: ram.read_u64(BASE + SIZE - 4),
        lambda: ram.write_u64(BASE + SIZE - 4, 0),
    ):
        with pytest.raises(MachineError, match=r"0x400ffffc.*0x40000000\.\.0x40100000"):
            access()
    with pytest.raises(MachineError, match="0x40000004 is not 8-byte aligned"):
        ram.u64(BASE + 4, 1)


def test_slots_index_the_words_and_refuse_the_first_bad_address(ram: GuestMemory) -> None:
    ram.write_u64(BASE + 64, 99)
    assert ram.words[ram.slots(np.array([BASE + 64], dtype=np.uint64))].tolist() == [99]
    for bad in (BASE - 8, BASE + SIZE, BASE + 4, 0, (1 << 64) - 8):
        with pytest.raises(MachineError, match=f"{bad:#x}"):
            ram.slots(np.array([BASE, bad], dtype=np.uint64))


def test_find_sees_a_pattern_across_its_own_windows() -> None:
    memory = GuestMemory(BASE, 4 << 20)
    at = BASE + (1 << 20) - 3
    memory.write(at, b"needle")
    assert memory.find(b"needle") == at
    assert memory.find(b"needle", start=at + 1) is None
    assert memory.find(b"needle", end=at + 5) is None
    with pytest.raises(MachineError, match="empty"):
        memory.find(b"")


@pytest.mark.parametrize("size", [0, -4096, 4095, 4097, 1 << 49])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(MachineError):
        GuestMemory(BASE, size)


@pytest.mark.parametrize("base", [-4096, 1, (1 << 52) - 4096])
def test_impossible_bases_are_refused(base: int) -> None:
    with pytest.raises(MachineError):
        GuestMemory(base, 8192)


def test_more_than_the_host_has_is_refused_with_a_way_out() -> None:
    limit, source = host_limit()
    with pytest.raises(MachineError, match="the host has") as caught:
        GuestMemory(0, (limit // 4096 + (1 << 20)) * 4096)
    assert source.split(",")[0] in str(caught.value)
    assert caught.value.hint


def test_a_resource_limit_is_a_message_not_a_crash() -> None:
    code = (
        "import resource\n"
        "from relokit.codegen.base.errors import MachineError\n"
        "from relokit.runtime.guest.memory import GuestMemory\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({2 << 30}, {resource.RLIM_INFINITY}))\n"
        "try:\n"
        "    GuestMemory(0, 2 << 30)\n"
        "except MachineError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "RLIMIT_AS" in done.stdout
    assert "hint:" in done.stdout


def test_a_closed_memory_says_so_and_views_outlive_it() -> None:
    memory = GuestMemory(BASE, SIZE)
    view = memory.view(BASE, 4096)
    memory.close()
    view[:] = 1
    assert view.all()
    with pytest.raises(MachineError, match="closed"):
        memory.read(BASE, 1)


# Banks ----------------------------------------------------------------------------------------

BANKS = ((BASE, SIZE), (BASE + 4 * SIZE, SIZE), (BASE + (1 << 33), 4096))


def test_what_is_between_banks_is_no_ram() -> None:
    with GuestMemory.of(BANKS) as memory:
        assert (memory.available, memory.end) == (2 * SIZE + 4096, BASE + (1 << 33) + 4096)
        assert memory.holes == (
            (BASE + SIZE, 3 * SIZE),
            (BASE + 5 * SIZE, (1 << 33) - 5 * SIZE),
        )
        for low, size in BANKS:
            memory.write(low + size - 8, b"bankbank")
            assert memory.contains(low, size)
            assert not memory.contains(low, size + 1)
            with pytest.raises(MachineError, match="is not RAM"):
                memory.write(low + size - 4, b"bankbank")
        with pytest.raises(MachineError, match="no 64-bit word of RAM at PA 0x40100000"):
            memory.slots(np.array([BASE, BASE + SIZE], dtype=np.uint64))


@given(pa=st.integers(BASE - SIZE, BASE + 7 * SIZE), size=st.integers(1, SIZE))
def test_an_array_of_addresses_is_asked_as_one_is(pa: int, size: int) -> None:
    memory = GuestMemory.of(BANKS)
    assert memory.absent(np.array([pa], dtype=np.uint64), size)[0] != memory.contains(pa, size)


@pytest.mark.parametrize(
    "banks",
    [
        ((BASE, SIZE), (BASE + SIZE, SIZE)),
        ((BASE, SIZE), (BASE, SIZE)),
        ((BASE + SIZE, SIZE), (BASE, SIZE)),
        ((BASE, SIZE), (BASE + 4 * SIZE, 0)),
        ((BASE, SIZE), (BASE + 4 * SIZE + 8, SIZE)),
    ],
)
def test_banks_that_cannot_be(banks: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(MachineError):
        GuestMemory.of(banks)
