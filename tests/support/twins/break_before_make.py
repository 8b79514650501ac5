"""Twins of bbm.*, and of what becomes of translations when the MMU goes on."""

from __future__ import annotations

from support.tables import TCR
from support.traces import FULL, NON
from support.twins.switching import (
    EMPTY,
    IDMAP,
    SWITCHED,
    A,
    B,
    begun,
    invalidated,
    switched,
    told,
)
from support.twins.twins import Twins

_NARROWER = TCR + 1

BREAK_BEFORE_MAKE: dict[str, Twins] = {
    "bbm.switch": Twins(told(switched(invalidated(begun()))), SWITCHED),
    "bbm.empty-table": Twins(
        told(switched(invalidated(begun().msr("TTBR1_EL1", IDMAP).isb()))), SWITCHED
    ),
    "bbm.control": Twins(
        told(begun().msr("TCR_EL1", _NARROWER).isb()),
        told(
            invalidated(begun().msr("TTBR0_EL1", EMPTY).isb())
            .msr("TCR_EL1", _NARROWER)
            .isb()
            .msr("TTBR0_EL1", IDMAP)
            .isb()
        ),
    ),
    "bbm.store": Twins(
        told(switched().store(B, 4096)),
        told(switched().store(A, 4096)),
    ),
    "tlb.enable": Twins(
        told(begun().mmu_off().msr("TTBR1_EL1", B).mmu_on()),
        told(begun().mmu_off().msr("TTBR1_EL1", B).tlbi().dsb(FULL, NON).isb().mmu_on()),
    ),
}
