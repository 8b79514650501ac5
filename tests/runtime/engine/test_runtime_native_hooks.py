"""The compiled hooks, driven directly: what they count, when they stop, what they let through."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import UC_ARCH_ARM64, UC_MODE_ARM, Uc
from unicorn.unicorn_const import UC_HOOK_BLOCK

from relokit.codegen.base import native
from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import REGISTERS, split_key
from relokit.runtime.engine import native_hooks as n
from relokit.runtime.engine.native_hooks import BlockSlot, NativeStop

BLOCK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p
)  # fmt: skip
SYSTEM = ctypes.CFUNCTYPE(
    ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p
)
STOP = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)
ACCESS = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64,
    ctypes.c_void_p,
)  # fmt: skip


class Counter:
    def __init__(self, limit: int) -> None:
        self.stops: list[int] = []

        def stop(uc: int) -> int:
            self.stops.append(uc)
            return 0

        self._stop = STOP(stop)
        self.words = n.new_counter()
        self.words[BlockSlot.LIMIT] = limit
        self.words[BlockSlot.LOOK] = 2**64 - 1
        self.words[BlockSlot.STOP] = ctypes.cast(self._stop, ctypes.c_void_p).value or 0
        self._hook = BLOCK(n.block_counter_address())

    def block(self, address: int, size: int) -> None:
        self._hook(77, address, size, self.words.ctypes.data)


def test_blocks_and_instructions_add_up() -> None:
    counter = Counter(1000)
    for address, size in ((0x100, 8), (0x200, 400), (0xFFFF_8000_0000_0000, 4)):
        counter.block(address, size)
    assert counter.words[BlockSlot.INSTRUCTIONS] == 2 + 100 + 1
    assert counter.words[BlockSlot.BLOCKS] == 3
    assert counter.words[BlockSlot.LAST] == 0xFFFF_8000_0000_0000
    assert counter.stops == []


def test_the_block_that_would_pass_the_limit_is_not_counted() -> None:
    counter = Counter(4)
    for _ in range(3):
        counter.block(0x100, 8)
    assert counter.stops == [77]
    assert counter.words[BlockSlot.INSTRUCTIONS] == 4
    assert counter.words[BlockSlot.REASON] == NativeStop.LIMIT
    counter.block(0x200, 8)
    assert (counter.stops, int(counter.words[BlockSlot.BLOCKS])) == ([77], 2)


def test_a_block_that_keeps_following_itself_is_stopped_once() -> None:
    counter = Counter(10**6)
    for _ in range(n.SPIN_REPEATS):
        counter.block(0x100, 4)
        counter.block(0x104, 4)
    assert counter.stops == []
    for _ in range(n.SPIN_REPEATS + 1):
        counter.block(0x200, 8)
    assert counter.stops == [77]
    assert counter.words[BlockSlot.REASON] == NativeStop.SPIN


def test_a_run_is_looked_at_again_and_again() -> None:
    """Two blocks that take turns are no repeats; the alarm is what a board has set."""
    counter = Counter(10**9)
    counter.words[BlockSlot.LOOK] = 8
    for expected in (8, 8 + n.LOOK_EVERY):
        counter.words[BlockSlot.INSTRUCTIONS] = expected - 2
        counter.block(0x100, 4)
        counter.block(0x104, 4)
        assert counter.words[BlockSlot.REASON] == NativeStop.NONE
        counter.block(0x100, 4)
        assert counter.words[BlockSlot.REASON] == NativeStop.SPIN
        assert counter.words[BlockSlot.INSTRUCTIONS] == expected
        counter.words[BlockSlot.REASON] = NativeStop.NONE
    counter.block(0x100, 4)
    assert counter.words[BlockSlot.ALARM] == counter.words[BlockSlot.LOOK] == 8 + 2 * n.LOOK_EVERY


def test_a_harmless_block_may_go_on() -> None:
    counter = Counter(10**6)
    counter.words[BlockSlot.HARMLESS] = 0x200
    for _ in range(2 * n.SPIN_REPEATS):
        counter.block(0x200, 8)
    assert counter.stops == []
    assert counter.words[BlockSlot.INSTRUCTIONS] == 4 * n.SPIN_REPEATS


def _access(name: str) -> Any:
    op0, op1, crn, crm, op2 = split_key(REGISTERS[name])
    return np.array([crn, crm, op0, op1, op2, 0, 0, 0], dtype=np.uint32)


def test_the_filter_calls_for_chosen_registers_only() -> None:
    seen: list[tuple[int, int]] = []

    def handler(uc: int, register: int, access: int, data: int) -> int:
        seen.append((uc, register))
        return 1

    kept = SYSTEM(handler)
    words = n.new_filter(frozenset({REGISTERS["SCTLR_EL1"], REGISTERS["CTR_EL0"]}), kept)
    hook = SYSTEM(n.system_filter_address())
    answers = {name: hook(5, 9, _access(name).ctypes.data, words.ctypes.data) for name in REGISTERS}
    assert {name for name, answer in answers.items() if answer} == {"SCTLR_EL1", "CTR_EL0"}
    assert seen == [(5, 9), (5, 9)]


@pytest.mark.parametrize("name", sorted(REGISTERS))
def test_the_filter_lets_each_register_through_alone(name: str) -> None:
    kept = SYSTEM(lambda *_: 1)
    words = n.new_filter(frozenset({REGISTERS[name]}), kept)
    hook = SYSTEM(n.system_filter_address())
    taken = {
        other for other in REGISTERS if hook(0, 0, _access(other).ctypes.data, words.ctypes.data)
    }
    assert taken == {name}


@settings(deadline=None)
@given(
    blocks=st.lists(
        st.tuples(st.sampled_from([0x100, 0x200, 2**64 - 4]), st.sampled_from([4, 8, 64])),
        max_size=40,
    ),
    limit=st.integers(0, 40),
    harmless=st.sampled_from([0, 0x100, 0x300]),
    repeats=st.integers(n.SPIN_REPEATS - 3, n.SPIN_REPEATS),
)
def test_the_block_counter_is_what_it_says(
    blocks: list[tuple[int, int]], limit: int, harmless: int, repeats: int
) -> None:
    """Against the same in Python, from a state in which the first block is nearly a spin."""
    counter = Counter(limit)
    counter.words[BlockSlot.HARMLESS] = harmless
    counter.words[BlockSlot.LAST] = last = 0x100
    counter.words[BlockSlot.REPEATS] = repeats
    done = counted = size_of_last = 0
    reason = NativeStop.NONE
    for address, size in blocks:
        counter.block(address, size)
        if reason is not NativeStop.NONE:
            continue
        if done >= limit:
            reason = NativeStop.LIMIT
            continue
        repeats = repeats + 1 if address == last else 0
        if repeats >= n.SPIN_REPEATS and address != harmless:
            reason = NativeStop.SPIN
            continue
        done, counted, last, size_of_last = done + size // 4, counted + 1, address, size
    expected = {
        BlockSlot.INSTRUCTIONS: done,
        BlockSlot.BLOCKS: counted,
        BlockSlot.LAST: last,
        BlockSlot.LAST_SIZE: size_of_last,
        BlockSlot.REPEATS: repeats,
        BlockSlot.REASON: reason,
    }
    assert {slot: int(counter.words[slot]) for slot in expected} == expected
    assert len(counter.stops) == (reason is not NativeStop.NONE)


def test_the_system_counter_has_a_word_for_each_encoding() -> None:
    counters = np.zeros(n.ENCODINGS, dtype=np.uint64)
    hook = SYSTEM(native.address(native.library(), "count_system"))
    for name in [*REGISTERS, "CTR_EL0"]:
        assert hook(0, 0, _access(name).ctypes.data, counters.ctypes.data) == 0
    expected = dict.fromkeys(REGISTERS.values(), 1) | {REGISTERS["CTR_EL0"]: 2}
    assert {int(key): int(counters[key]) for key in np.flatnonzero(counters)} == expected


@pytest.mark.parametrize("base", [0x1000, 2**64 - 16])
def test_the_profile_counts_its_range_and_nothing_beside_it(base: int) -> None:
    profile = np.append(n.new_profile(base, 3), np.uint64(0))
    hook = BLOCK(n.profile_address())
    for offset, times in ((-4, 5), (0, 1), (4, 2), (8, 3), (12, 6), (2**63, 1)):
        for _ in range(times):
            hook(0, (base + offset) % 2**64, 4, profile.ctypes.data)
    assert profile.tolist() == [base, 3, 1, 2, 3, 0]


def test_instructions_are_counted_one_by_one() -> None:
    counter = np.zeros(1, dtype=np.uint64)
    for address in (0, 4, 2**64 - 4):
        BLOCK(n.code_counter_address())(0, address, 4, counter.ctypes.data)
    assert counter[0] == 3


def test_accesses_and_their_bytes_add_up() -> None:
    counts = np.zeros(2, dtype=np.uint64)
    hook = ACCESS(n.access_counter_address())
    for size in (1, 2, 4, 8, 16):
        hook(0, 16, 2**64 - 16, size, -1, counts.ctypes.data)
    assert (counts[n.ACCESSES], counts[n.ACCESS_BYTES]) == (5, 31)


def test_a_hook_the_engine_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        @staticmethod
        def uc_hook_add(*_: Any) -> int:
            return 9

    monkeypatch.setattr(n, "uclib", Library)
    with pytest.raises(MachineError, match="refused a native hook"):
        n.add_native_hook(Uc(UC_ARCH_ARM64, UC_MODE_ARM), UC_HOOK_BLOCK, 0, _words())


def _words() -> n.Words:
    return np.zeros(len(BlockSlot), dtype=np.uint64)
