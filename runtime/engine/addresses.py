"""What a CPU has at virtual addresses, by our own walk of the tables its registers name."""

from __future__ import annotations

from typing import Protocol

from unicorn import Uc

from relokit.codegen.facts import HCR_EL2_E2H
from relokit.runtime.arch.translation import SCTLR_M, WalkRegisters
from relokit.runtime.arch.walker import Walk, walk
from relokit.runtime.engine.registers import Registers
from relokit.runtime.guest.memory import GuestMemory


class Behind(Protocol):
    """Memory behind the caches."""

    def read(self, pa: int, size: int) -> bytes:
        """``size`` bytes at PA ``pa``, within a page."""


class Addresses(Registers):
    """The registers of an engine over ``memory``; ``cpu_bits`` are the widest addresses it has.

    ``behind`` is what memory has where caches have no part, if that differs from ``memory``.
    """

    def __init__(self, uc: Uc, memory: GuestMemory, cpu_bits: int) -> None:
        super().__init__(uc)
        self.memory = memory
        self.cpu_bits = cpu_bits
        self.behind: Behind | None = None

    def walk_registers(self, el: int | None = None) -> WalkRegisters:
        """The translation registers in force at ``el`` (1 or 2), the current level by default."""
        level = max(self.el if el is None else el, 1)
        e2h = level == 2 and bool(self.read("HCR_EL2") & HCR_EL2_E2H)
        return WalkRegisters(
            sctlr=self.read(f"SCTLR_EL{level}"),
            tcr=self.read(f"TCR_EL{level}"),
            ttbr0=self.read(f"TTBR0_EL{level}"),
            ttbr1=self.read(f"TTBR1_EL{level}") if level == 1 or e2h else 0,
            mair=self.read(f"MAIR_EL{level}"),
            e2h=e2h,
            cpu_bits=self.cpu_bits,
        )

    def walk(self, va: int, el: int | None = None) -> Walk:
        """Translate ``va`` at ``el`` (the current level by default), by our own walk."""
        level = max(self.el if el is None else el, 1)
        return walk(self.memory, self.walk_registers(level), va, el=level)

    def read_virtual(self, va: int, size: int) -> bytes | None:
        """``size`` bytes at ``va`` within one page, or None if they cannot be read."""
        pa = self.walk(va).pa
        if pa is None or not self.memory.contains(pa, size):
            return None
        memory = self.behind if self.behind and not self.walk_registers().sctlr & SCTLR_M else None
        return (memory or self.memory).read(pa, size)

    def instruction_at(self, va: int) -> int | None:
        """The instruction word at ``va``, or None if it cannot be fetched."""
        data = self.read_virtual(va, 4) if va % 4 == 0 else None
        return int.from_bytes(data, "little") if data else None
