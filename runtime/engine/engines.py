"""Engines, and how one that has run is made as new: to open one takes a fifth of a small run.

Only an engine whose guest ended well is used again, by a guest of the same CPU model whose RAM is
of the same banks and at the same host address (the host gives it out anew, zeroed).
Its registers are then byte for byte those of a fresh one, by the engine's own save of them; its TLB
and its translated code are empty; nobody hooks anything. An engine that has got more than that (a
device, more memory, a breakpoint) is not used again. ADR 14 of docs/adr has the figures.
"""

from __future__ import annotations

from typing import Any

from unicorn import Uc, UcError
from unicorn import arm64_const as a64
from unicorn import unicorn_const as u

from relokit.codegen.base.errors import MachineError
from relokit.runtime.engine.registers import Registers
from relokit.runtime.guest.memory import MIN_PAGE, Extent, GuestMemory

MODELS = {"a72": a64.UC_CPU_ARM64_A72, "max": a64.UC_CPU_ARM64_MAX}
Place = tuple[str, tuple[Extent, ...], int]
"""CPU model, banks of RAM and its host address."""

_BREAKPOINTS, _WATCHPOINTS = (0b101, 12), (0b111, 20)
"""op2 of DBGBCR<n>_EL1 and DBGWCR<n>_EL1, and where ID_AA64DFR0_EL1 says how many there are beside
the first (DDI 0487, D19.2 and D19.3)."""
_ENABLED = 1
_idle: dict[str, Engine] = {}
"""By model, one that waits for its next guest."""


class Engine:
    """An engine of ``model`` with ``memory`` mapped, as after power-on; MachineError if it cannot
    be had.
    """

    def __init__(self, model: str, memory: GuestMemory) -> None:
        self.place: Place = _place(model, memory)
        try:
            self.uc = Uc(u.UC_ARCH_ARM64, u.UC_MODE_ARM)
            self.uc.ctl_set_cpu_model(MODELS[model])
            self.uc.ctl_set_page_size(MIN_PAGE)
            map_banks(self.uc, memory, u.UC_PROT_ALL)
            self._new: Any = self.uc.context_save()
        except UcError as error:
            raise MachineError(f"Unicorn cannot hold this guest: {error}") from None
        self._registers = Registers(self.uc)
        self._debug = _debug_controls(self._registers.read("ID_AA64DFR0_EL1"))

    def give_back(self) -> None:
        """Keep it for the next guest: nobody has a hook or a register of it in hand any more."""
        registers = self._registers
        if any(control & _ENABLED for control in registers.values(self._debug)):
            return
        self.uc.context_restore(self._new)
        registers.flush_tlb()
        self.uc.ctl_flush_tb()
        _idle[self.place[0]] = self


def open_engine(model: str, memory: GuestMemory) -> Engine:
    """A fresh engine over ``memory``, or one that is as new."""
    if model not in MODELS:
        raise MachineError(f"no CPU model {model!r}", hint=f"one of {', '.join(MODELS)}")
    idle = _idle.pop(model, None)
    if idle is not None and idle.place == _place(model, memory):
        return idle
    return Engine(model, memory)


def _debug_controls(dfr0: int) -> tuple[int, ...]:
    """The control registers of all breakpoints and watchpoints, as 16-bit encodings."""
    return tuple(
        0b10 << 14 | number << 3 | op2
        for op2, low in (_BREAKPOINTS, _WATCHPOINTS)
        for number in range((dfr0 >> low & 0xF) + 1)
    )


def _place(model: str, memory: GuestMemory) -> Place:
    return model, memory.banks, memory.address


def map_banks(uc: Uc, memory: GuestMemory, rights: int) -> None:
    """Have ``uc`` find ``memory`` where its banks are."""
    for base, size in memory.banks:
        uc.mem_map_ptr(base, size, rights, memory.address + base - memory.base)
