"""Memory behind the caches: what it has after stores and maintenance; and a model of a line."""

from __future__ import annotations

from ctypes import c_int, c_uint64, c_void_p
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.codegen.facts import NEVER_CLEANED
from relokit.runtime.engine.effects import Effects, _library
from relokit.runtime.guest.memory import GuestMemory

RAM = 0x4000_0000
PAGE = 4096
SIZE = 4 * PAGE
POISON = NEVER_CLEANED.to_bytes(8, "little")


class Guest:
    """RAM with effects, and no CPU: what the engine's hooks call is called here."""

    def __init__(self, line: int = 64, clean: tuple[tuple[int, int], ...] = ()) -> None:
        self.ram = GuestMemory(RAM, SIZE)
        self.ram.ram[:] = 1
        shift = line.bit_length() - 3
        self.memory: Any = None
        mmu = SimpleNamespace(take_effect=self._take)
        cpu = SimpleNamespace(
            memory=self.ram,
            cache_type=shift << 16,
            add_memory=self._add,
            behind=None,
            mmu=mmu,
            flush_tlb=lambda: None,
            flush_code=lambda: None,
        )
        self.effects = Effects(cast(Any, cpu), clean)

    def _take(self, state: int) -> None:
        self.state = state

    def _add(self, memory: GuestMemory) -> None:
        self.memory = memory

    def store(self, pa: int, value: int) -> None:
        self.ram.write(pa, bytes([value] * 8))

    def store_around(self, pa: int, value: int) -> None:
        page = pa & -PAGE
        alias = _library.effects_reach(self.state, page, 1)
        self.memory.write(alias + pa - page, bytes([value] * 8))

    def load_around(self, pa: int) -> bytes:
        return self.effects.read(pa, 8)

    def maintain(self, pa: int, *, cleans: bool, invalidates: bool) -> None:
        _library.effects_maintain(
            c_void_p(self.state), c_uint64(pa), c_int(cleans), c_int(invalidates)
        )

    def civac(self, pa: int) -> None:
        self.maintain(pa, cleans=True, invalidates=True)


def eight(value: int) -> bytes:
    return bytes([value] * 8)


def test_what_was_never_cleaned_is_not_in_memory() -> None:
    guest = Guest(clean=((RAM, RAM + 100),))
    assert guest.load_around(RAM) == eight(1)
    # All of the line that the last byte is in.
    assert guest.load_around(RAM + 120) == eight(1)
    assert guest.load_around(RAM + 128) == POISON
    assert guest.load_around(RAM + PAGE) == POISON


def test_a_store_is_in_memory_once_it_was_cleaned() -> None:
    guest = Guest()
    guest.store(RAM, 7)
    guest.civac(RAM + 63)
    assert guest.load_around(RAM) == eight(7)
    guest.store(RAM, 8)
    assert guest.load_around(RAM) == eight(7)
    facts = guest.effects.end([(RAM, 64)])
    assert (facts.stale, facts.absent, facts.lost) == (1, 0, 1)
    assert guest.ram.read(RAM, 8) == eight(7)


def test_what_is_invalidated_while_dirty_is_lost() -> None:
    guest = Guest(clean=((RAM, RAM + PAGE),))
    guest.store(RAM, 7)
    guest.maintain(RAM, cleans=False, invalidates=True)
    assert guest.ram.read(RAM, 8) == eight(1)
    assert guest.effects.end([]).discarded == 1


def test_an_old_dirty_line_is_written_back_over_what_was_stored_around_it() -> None:
    guest = Guest()
    for page in (0, 1):
        guest.store(RAM + page * PAGE, 5)
    guest.maintain(RAM + PAGE, cleans=False, invalidates=True)
    for page in (0, 1):
        guest.store_around(RAM + page * PAGE, 9)
    facts = guest.effects.end([(RAM, 64), (RAM + PAGE, 64)])
    assert facts.overwritten == 1
    assert guest.ram.read(RAM, 8) == eight(5)
    assert guest.ram.read(RAM + PAGE, 8) == eight(9)


def test_what_was_stored_around_is_in_ram_in_the_end_wherever_it_is() -> None:
    guest = Guest()
    guest.store_around(RAM + 2 * PAGE, 9)
    guest.load_around(RAM + 3 * PAGE)
    guest.effects.end([])
    assert guest.ram.read(RAM + 2 * PAGE, 8) == eight(9)
    # What was only looked at is as it was.
    assert guest.ram.read(RAM + 3 * PAGE, 8) == eight(1)


@pytest.mark.parametrize("pa", [0, RAM - 1, RAM + SIZE, 2**64 - 1])
def test_maintenance_of_what_is_no_ram_does_nothing(pa: int) -> None:
    guest = Guest()
    guest.civac(pa)
    assert guest.effects.end([]).lost == 0


def test_a_line_larger_than_a_page_is_refused() -> None:
    with pytest.raises(MachineError, match="cache lines of 8192 bytes"):
        Guest(line=8192)


# A model of lines ---------------------------------------------------------------------------


@dataclass
class Line:
    """One line: a cache has ``cached``, ``memory`` has what is stored to it; 8 bytes stand for all.

    ``dirty`` is as the cache has it: from the start on, as nobody has maintained it.
    """

    cached: bytes = eight(1)
    memory: bytes = POISON
    dirty: bool = True
    around: bool = False

    def store(self, value: int) -> None:
        self.cached, self.dirty = eight(value), True

    def clean(self) -> None:
        if self.dirty:
            self.memory = self.cached
        self.dirty = False

    def invalidate(self) -> None:
        self.cached, self.dirty = self.memory, False

    def store_around(self, value: int) -> None:
        self.memory, self.around = eight(value), True

    def handed_over(self) -> bytes:
        """The worst: written back where that hurts, else not."""
        return self.cached if self.dirty and self.around else self.memory


PLACES = st.sampled_from([RAM, RAM + 64, RAM + PAGE - 64, RAM + PAGE])
CACHED = st.tuples(st.sampled_from(["store", "clean", "invalidate", "both"]), PLACES)
AROUND = st.tuples(st.sampled_from(["around", "clean", "invalidate", "both"]), PLACES)


@given(st.lists(CACHED, max_size=12), st.lists(AROUND, max_size=12))
def test_memory_is_what_the_model_of_a_line_says(
    cached: list[tuple[str, int]], around: list[tuple[str, int]]
) -> None:
    """First with caches, then, the MMU being off, around them."""
    guest, lines = Guest(), {pa: Line() for pa in (RAM, RAM + 64, RAM + PAGE - 64, RAM + PAGE)}
    for number, (what, pa) in enumerate([*cached, *around]):
        line, value = lines[pa], number + 2
        if what == "store":
            guest.store(pa, value)
            line.store(value)
        elif what == "around":
            # The first store to a page is what makes all of it stored around.
            for other, one in lines.items():
                if other & -PAGE == pa & -PAGE:
                    one.around = True
            guest.store_around(pa, value)
            line.store_around(value)
        else:
            guest.maintain(pa, cleans=what != "invalidate", invalidates=what != "clean")
            if what != "invalidate":
                line.clean()
            if what != "clean":
                line.invalidate()
        if what != "store":
            for place, one in lines.items():
                assert guest.load_around(place) == one.memory, (number, what, hex(place))
    guest.effects.end([(pa, 64) for pa in lines])
    for pa, line in lines.items():
        assert guest.ram.read(pa, 8) == line.handed_over()
