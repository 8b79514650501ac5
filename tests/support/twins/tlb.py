"""Twins of tlb.*, and of errata that are about the same."""

from __future__ import annotations

from support import records as r
from support.traces import FULL, INNER, NON, STORES
from support.twins.switching import (
    EMPTY,
    SWITCHED,
    VA,
    B,
    begun,
    emptied,
    invalidated,
    missing,
    switched,
    told,
)
from support.twins.twins import Twins

_BY_ADDRESS = VA >> 12 & (1 << 44) - 1
_STALE = VA + 0x8000
_READ = (r.SPARE + 0x8000, 16)

TLB: dict[str, Twins] = {
    "tlb.scope": Twins(told(switched(emptied().tlbi("aside1").dsb(FULL, NON))), SWITCHED),
    "tlb.operand": Twins(
        told(switched(emptied().tlbi("vaae1", VA).dsb(FULL, NON))),
        told(switched(emptied().tlbi("vaae1", _BY_ADDRESS).dsb(FULL, NON))),
    ),
    "tlb.synchronised": Twins(
        told(switched(invalidated(begun().msr("TTBR1_EL1", EMPTY)))), SWITCHED
    ),
    "tlb.completion": Twins(told(switched(emptied().tlbi().dsb(STORES, NON))), SWITCHED),
    "tlb.stale": Twins(
        told(emptied().load(*_READ, va=_STALE)),
        told(begun().load(*_READ, va=_STALE)),
    ),
    "tlb.legality": Twins(
        told(switched().tlbi("alle1")), told(switched().exception().tlbi("alle1"))
    ),
    "tlb.root": Twins(missing(switched(), B, 0x1000), SWITCHED),
    "tlb.domain": Twins(
        told(switched(emptied().tlbi("vmalle1is").dsb(FULL, NON))),
        told(switched(emptied().tlbi("vmalle1is").dsb(FULL, INNER))),
    ),
    "errata.thunderx2-219": Twins(
        told(invalidated().msr("TTBR1_EL1", B).load(r.SPARE, 16).isb()), SWITCHED
    ),
    "errata.e1003": Twins(
        told(begun().msr("TTBR0_EL1", EMPTY | 1 << 48).isb()),
        told(begun().msr("TTBR0_EL1", EMPTY).isb()),
    ),
    "errata.repeat-tlbi": Twins(
        told(switched(emptied().tlbi("vmalle1is").dsb(FULL, INNER))),
        told(
            switched(
                emptied().tlbi("vmalle1is").dsb(FULL, INNER).tlbi("vmalle1is").dsb(FULL, INNER)
            )
        ),
    ),
}
