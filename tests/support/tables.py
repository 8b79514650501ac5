"""Facts about tables made by hand: what each set of tables maps, by the PA of its first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import granule_of, tcr_el1
from relokit.runtime.record.tables import Leaves, TableFacts, Tables
from relokit.runtime.record.trace import Trace
from relokit.runtime.record.views import views_of

Maps = Mapping[int, Sequence[Leaves]]
NOTHING: Maps = {}
"""Whatever is in a TTBR is empty."""
TCR = tcr_el1(granule_of(4096), t0_bits=48, t1_bits=48, pa_bits=48)
PAGE = 4096
UPPER = 0xFFFF_0000_0000_0000


def leaves(
    va: int, pa: int, size: int = PAGE, *, level: int = 3, bits: int = d.KERNEL_RW
) -> Leaves:
    """Pages, or blocks, that a kernel maps."""
    return Leaves(va, pa, size, level, bits & ~d.SOFTWARE_DIRTY)


def tables_of(
    trace: Trace, maps: Maps, *, missing: Mapping[int, int] = MappingProxyType({})
) -> TableFacts:
    """All tables that ``trace`` had in a TTBR: of one page, and empty where ``maps`` has none."""
    keys = dict.fromkeys(span.view.tables for span in views_of(trace, 48).spans)
    found = []
    for key in keys:
        if key is None:
            continue
        mapped = tuple(maps.get(key.root, ()))
        entries = ((key.root, key.root + 8 * len(mapped)),) if mapped else ()
        pages = ((key.root, key.root + PAGE),)
        found.append(Tables(key, mapped, pages, entries, missing.get(key.root)))
    return TableFacts(48, tuple(found))


def changed(facts: TableFacts, root: int, **fields: object) -> TableFacts:
    """``facts`` with other ``fields`` of the tables at ``root``."""
    return replace(
        facts,
        tables=tuple(
            replace(one, **fields) if one.key.root == root else one  # type: ignore[arg-type]
            for one in facts.tables
        ),
    )
