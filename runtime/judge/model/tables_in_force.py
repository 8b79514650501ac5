"""Whose tables a TTBR holds, from when to when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import HCR_EL2_E2H
from relokit.codegen.system_registers import REGISTERS
from relokit.runtime.arch.translation import TTBR_HIGH, TTBR_HIGH_SHIFT, TTBR_WIDE_BADDR
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.trace import Trace, TraceKind

TABLES = frozenset(
    {
        OwnerKind.SWAPPER,
        OwnerKind.ZERO_PAGE,
        OwnerKind.LINEAR_MAP,
        OwnerKind.CONTROL_IDMAP,
        OwnerKind.RESTART_IDMAP,
        OwnerKind.RESUMED_SWAPPER,
    }
)
"""Owners of translation tables. Those of one kind are one tree, root and all below."""
MAX_WRITES = 256
_NAMES = {
    REGISTERS[f"TTBR{number}_EL{level}"]: (number, level) for number in (0, 1) for level in (1, 2)
}


@dataclass(frozen=True, slots=True)
class InForce:
    """``register`` of ``level`` leads to the tables of ``kind`` from record ``begin`` to ``end``.

    ``pc`` is the VA of the MSR.
    """

    register: str
    level: int
    kind: OwnerKind
    begin: int
    end: int
    pc: int


def tables_in_force(trace: Trace, regions: Sequence[Region]) -> list[InForce]:
    """What MSRs put into each register of each level, if it leads to tables that somebody owns.

    Raises UnknownFactError if there are too many to follow.
    """
    records = trace.records
    host = bool(trace.start.get("HCR_EL2", 0) & HCR_EL2_E2H)
    writes: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    written = np.flatnonzero(trace.kinds == TraceKind.MSR)
    written = written[np.isin(records["encoding"][written], list(_NAMES))]
    if len(written) > MAX_WRITES:
        raise UnknownFactError(f"more than {MAX_WRITES} writes of TTBRs cannot be followed")
    for number in written.tolist():
        row = records[number]
        which, level = _NAMES[int(row["encoding"])]
        # Under E2H an EL1 name reaches EL2's register from there.
        level = 2 if host and row["el"] == 2 else level
        write = number, int(row["value"]), int(row["pc"])
        writes.setdefault((which, level), []).append(write)
    found = []
    for (which, level), values in writes.items():
        ends = [begin for begin, _, _ in values[1:]] + [len(records)]
        for (begin, value, pc), end in zip(values, ends, strict=True):
            kind = _kind(regions, _root(value))
            if kind is not None:
                found.append(InForce(f"TTBR{which}_EL{level}", level, kind, begin, end, pc))
    return found


def _kind(regions: Sequence[Region], root: int) -> OwnerKind | None:
    kinds = (one.owner.kind for one in regions if one.owner.kind in TABLES and root in one)
    return next(kinds, None)


def _root(ttbr: int) -> int:
    """PA of the tables, or of an entry in the first one; of 48-bit tables, bits 5:2 are zero."""
    return ttbr & TTBR_WIDE_BADDR | ttbr << TTBR_HIGH_SHIFT & TTBR_HIGH
