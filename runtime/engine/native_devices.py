"""Devices and boards as a CPU meets them: native code at addresses, and what is asked of it."""

from __future__ import annotations

import ctypes
from typing import Protocol

from unicorn import Uc
from unicorn.unicorn_const import UC_ERR_OK
from unicorn.unicorn_py3.unicorn import uclib

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class NativeDevice:
    """Something that answers at PA ``base``, ``size`` bytes, both multiples of 4 KiB.

    ``load(engine, offset, size, data)`` and ``store(engine, offset, size, value, data)`` are
    native functions, ``data`` is theirs: addresses all three.
    """

    base: int
    size: int
    load: int
    store: int
    data: int


class Raiser(Protocol):
    """What raises interrupts. All addresses are native; the board lives as long as its CPU."""

    address: int
    on_alarm: int
    """Called between two blocks when BlockSlot.ALARM has come: not 0 to stop there."""
    on_register: int
    """Called for an MRS or MSR above EL0 that the engine lacks: not 0 if it was one."""

    def interrupt(self) -> int:
        """The level that takes an interrupt before the next instruction, 0 if none does."""

    def may_interrupt(self) -> bool:
        """Whether an interrupt may come while the CPU stays where it is."""

    def sleep(self) -> bool:
        """Let time go on to what ends a WFI; whether anything does."""


def map_native(uc: Uc, device: NativeDevice) -> None:
    """Have ``device`` answer in the engine ``uc``."""
    load, store, data = map(ctypes.c_void_p, (device.load, device.store, device.data))
    status = uclib.uc_mmio_map(uc._uch, device.base, device.size, load, data, store, data)
    if status != UC_ERR_OK:
        raise MachineError(f"the engine refused a device at PA {device.base:#x} (status {status})")
