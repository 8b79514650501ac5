"""One interrupt, raised at a chosen moment: what happens then, not only what might."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Self

import numpy as np
from unicorn import unicorn_const as u
from unicorn.unicorn_py3.unicorn import uclib

from relokit.codegen.base import native
from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.counting import Counting
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.interrupt_seen import InterruptSeen


class _Native(ctypes.Structure):
    """``struct interruption``."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("at", "mmu", "stop", "begun", "target"))


_library = native.library()
native.check_shared(
    _library, "interruption_shared", {"struct interruption": ctypes.sizeof(_Native)}
)


class Interruption(Counting):
    """While it is entered, an IRQ is raised on ``cpu`` when ``at`` instructions have been begun.

    It is taken before the next one that does not mask it. Every instruction is looked at, so that
    the moment is exact: the run takes a few times as long.
    """

    def __init__(self, cpu: Cpu, at: int) -> None:
        super().__init__(cpu)
        self._at = at
        self._memory = np.zeros(ctypes.sizeof(_Native), np.uint8)
        self._state = _Native.from_address(self._memory.ctypes.data)
        self._pc: int | None = None

    def __enter__(self) -> Self:
        stop = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value or 0
        self._state.at, self._state.mmu, self._state.stop = self._at, self._cpu.mmu.address, stop
        self._cpu.interrupt = self._take
        self._cpu.stop_at_once(True)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self._cpu.interrupt = None
        self._cpu.stop_at_once(False)
        super().__exit__(*error)

    def seen(self) -> InterruptSeen:
        """What became of it."""
        taken = self._pc is not None
        return InterruptSeen(
            asked=self._at,
            raised=self._state.begun >= self._at,
            after=int(self._state.begun) if taken else None,
            pc=self._pc,
            el=int(self._state.target) if taken else None,
        )

    def _take(self) -> int | None:
        """The level that takes it, if the engine has stopped for that; once."""
        if self._pc is not None or not self._state.target:
            return None
        self._pc = self._cpu.pc
        return int(self._state.target)

    def _add_hooks(self) -> Iterator[int]:
        # Behind the recorder's, if there is one: it takes back what it has noted.
        yield native_hooks.add_native_hook(
            self._cpu.uc,
            u.UC_HOOK_CODE,
            native.address(_library, "watch_interruption"),
            self._memory,
        )
