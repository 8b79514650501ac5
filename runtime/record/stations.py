"""The CPU at the places a move passes: the jump, a purgatory, the kernel; and what is promised."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch.translation import SCTLR_M, WalkRegisters
from relokit.runtime.record.known import Unknown

REGISTERS_OF_A_LEVEL = (
    "SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR", "ESR", "ELR", "SPSR", "FAR",
)  # fmt: skip
SYSTEM = (*(f"{name}_EL{el}" for el in (1, 2) for name in REGISTERS_OF_A_LEVEL), "HCR_EL2")
"""System registers that a record has of each station, as far as the CPU has them."""


class StationRole(Enum):
    """What is entered at a station; the value is how that is shown."""

    RELOCATION = "relocation code"
    PURGATORY = "purgatory"
    KERNEL = "kernel"
    RESUMED = "resumed kernel"


@dataclass(frozen=True)
class CpuFacts:
    """The CPU before the instruction at ``pc``.

    ``x`` are x0 to x30, ``pstate`` is as SPSR would hold it, ``system`` are registers by
    architectural name, those of SYSTEM that the CPU has. ``translation`` is what a walk at this
    exception level reads (EL1 for EL0).
    """

    pc: int
    pstate: int
    x: tuple[int, ...]
    sp: int
    system: Mapping[str, int]
    translation: WalkRegisters

    @property
    def el(self) -> int:
        """Exception level."""
        return self.pstate >> 2 & 3

    @property
    def level(self) -> int:
        """The exception level whose system registers count: EL1 for EL0."""
        return max(self.el, 1)

    @property
    def daif(self) -> int:
        """PSTATE.DAIF, four bits."""
        return self.pstate >> 6 & 0xF

    @property
    def sctlr(self) -> int:
        """SCTLR of this level."""
        return self.translation.sctlr

    @property
    def mmu(self) -> bool:
        """Whether the MMU is on at this level."""
        return bool(self.sctlr & SCTLR_M)

    def register(self, name: str) -> int | Unknown:
        """A system register of SYSTEM."""
        value = self.system.get(name)
        return Unknown(f"{name} was not recorded") if value is None else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What must hold at a station; None means that nothing is promised there.

    ``pc`` is where it is (a PA; a VA of the resumed kernel), ``el`` its exception level, ``mmu``
    whether the MMU is on, ``x0`` the register's value. ``ttbr1`` is what TTBR1 of the level holds,
    ``vectors`` what VBAR_EL2 does.
    """

    role: StationRole
    pc: int | Unknown
    el: int | Unknown
    mmu: bool | Unknown
    x0: int | Unknown | None = None
    ttbr1: int | Unknown | None = None
    vectors: int | Unknown | None = None
