"""Effects: memory behind the caches as a second RAM, where the CPU looks without them (effects.c).

What no cache was cleaned to is poison there, and a fetch, load or store in which caches have no
part finds it. What is modelled, and what not: docs/effects.md.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import numpy as np

from relokit.codegen.base import native
from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import MachineError
from relokit.codegen.facts import NEVER_CLEANED
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.memory import MIN_PAGE, GuestMemory
from relokit.runtime.record.effect_facts import EffectFacts
from relokit.runtime.record.prehistory import Range

_ALIASES = (1 << 51, 1 << 50)
"""PAs from which on memory is put before the engine: one of them is free, wherever RAM is."""
_LINE_SAME = 1


class _NativeEffects(ctypes.Structure):
    """``struct effects``."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "base", "size", "line", "cached", "memory", "lines", "pages", "alias", "poison",
            "discarded", "overwritten", "stale", "absent",
        )
    )  # fmt: skip


_library = native.library()
native.check_shared(
    _library,
    "effects_shared",
    {"LINE_SAME": _LINE_SAME, "struct effects": ctypes.sizeof(_NativeEffects)},
)
for _function, _arguments in (
    ("effects_reach", (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int)),
    ("effects_hand_over", (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)),
    ("effects_settle", (ctypes.c_void_p,)),
):
    getattr(_library, _function).argtypes = _arguments
_library.effects_reach.restype = ctypes.c_uint64


class Effects:
    """The effects of caches on what ``cpu`` does from now on, until :meth:`end`.

    ``clean`` are ranges of RAM that were cleaned to the point of coherency before.
    """

    def __init__(self, cpu: Cpu, clean: Iterable[Range]) -> None:
        ram = cpu.memory
        line = 4 << (cpu.cache_type >> 16 & 0xF)
        if line > MIN_PAGE:
            raise MachineError(f"effects with cache lines of {line} bytes", hint="up to 2 KiB")
        alias = next(one for one in _ALIASES if ram.end <= one or ram.base >= one + ram.size)
        self._cpu = cpu
        banks = [(base - ram.base + alias, size) for base, size in ram.banks]
        self._memory = GuestMemory.of(banks)
        spend(ram.size // line + ram.size // MIN_PAGE, "what caches hold of guest RAM")
        self._lines = np.zeros(ram.size // line, np.uint8)
        self._pages = np.zeros(ram.size // MIN_PAGE, np.uint8)
        self._state = _NativeEffects(
            base=ram.base,
            size=ram.size,
            line=line,
            cached=ram.address,
            memory=self._memory.address,
            lines=self._lines.ctypes.data,
            pages=self._pages.ctypes.data,
            alias=alias,
            poison=NEVER_CLEANED,
        )
        for start, end in clean:
            self._have(max(start, ram.base) - ram.base, min(end, ram.end) - ram.base)
        cpu.add_memory(self._memory)
        cpu.behind = self
        cpu.mmu.take_effect(ctypes.addressof(self._state))

    def _have(self, start: int, end: int) -> None:
        """Memory has what RAM has from offset ``start`` to ``end``: all lines that are touched."""
        line = self._state.line
        first, last = start // line, -(-end // line)
        self._lines[first:last] = _LINE_SAME
        span = slice(first * line, last * line)
        self._memory.ram[span] = self._cpu.memory.ram[span]

    def read(self, pa: int, size: int) -> bytes:
        """What memory has of ``size`` bytes at PA ``pa``, within a page."""
        alias = _library.effects_reach(ctypes.addressof(self._state), pa, 0)
        return self._memory.read(int(alias), size)

    def end(self, handed_over: Iterable[tuple[int, int]]) -> EffectFacts:
        """Caches have no effect any more: RAM has what memory has, of all that went around them.

        ``handed_over`` are (PA, bytes), whole pages, left to someone who starts without caches.
        """
        state = ctypes.addressof(self._state)
        for pa, size in handed_over:
            _library.effects_hand_over(state, pa, size)
        _library.effects_settle(state)
        self._cpu.mmu.take_effect(0)
        self._cpu.behind = None
        self._cpu.flush_tlb()
        self._cpu.flush_code()
        found = self._state
        return EffectFacts(
            line=int(found.line),
            discarded=int(found.discarded),
            overwritten=int(found.overwritten),
            stale=int(found.stale),
            absent=int(found.absent),
        )
