"""Who stored what is wrong in memory; where nobody did, who should have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from relokit.runtime.judge.rules.disassembly import listing
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.rule import Broken
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record

if TYPE_CHECKING:
    from relokit.runtime.record.trace import Trace

NOTHING_STORED = "nothing has stored to it"
_NEAR = 64
"""Bytes from what nothing has stored to within which a store may be one beside it."""
_MAX_ASKED = 16
"""Pages that are looked at for a store."""


def told_where_stored(record: Record, broken: Broken, pa: int) -> Broken:
    """``broken``, which is about PA ``pa``, told at the instruction that has stored there last."""
    if isinstance(record.trace, Unknown) or isinstance(record.code, Unknown):
        return broken
    store = _last_store(record.trace, pa)
    if store is None:
        uses = where_nothing_is_stored(record, pa)
        return replace(broken, notes=(*broken.notes, NOTHING_STORED), uses=uses)
    stores, which = _stores_of(record, store, pa)
    pc, code = stores[which], record.code
    return replace(
        broken,
        address=pc,
        place=code.places.get(pc),
        listing=listing(code.around(pc), pc),
        uses=(Used(pc, _data_of(record, pc)), Used(pc, cost=2)),
    )


def _data_of(record: Record, pc: int) -> tuple[int, ...]:
    """The registers whose values the store at VA ``pc`` stores."""
    from relokit.runtime.judge.rules.register_use import use_of

    word = None if isinstance(record.code, Unknown) else record.code.word(pc)
    operands = use_of(word) if word is not None else None
    return tuple(sorted(operands.reads - operands.address)) if operands else ()


def stored_there(record: Record, spans: Iterable[tuple[int, int]]) -> tuple[Used, ...]:
    """What was stored last to one of ``spans``, (PA, bytes): by whom, and of what it is made."""
    if isinstance(record.trace, Unknown):
        return ()
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    stores = record.trace.of(TraceKind.STORE)
    there = np.zeros(len(stores), bool)
    for pa, size in islice(spans, _MAX_ASKED):
        first, end = stores["pa"], stores["pa"] + stores["length"]
        there |= (first < np.uint64(pa + size)) & (end > np.uint64(pa))
    found = np.flatnonzero(there)
    if not len(found):
        return ()
    turns, _ = _stores_of(record, stores[found[-1]], int(stores["pa"][found[-1]]))
    return tuple(Used(pc, _data_of(record, pc), itself=True) for pc in turns)


def _stores_of(record: Record, store: Any, pa: int) -> tuple[list[int], int]:
    """The VAs of the instructions that took turns in the range ``store``, and whose turn PA was.

    As they stand one after the other in a loop; all store as much as the first one.
    """
    from relokit.runtime.judge.rules.makers import steps_of

    steps = steps_of(record)
    first = int(store["pc"])
    if steps is None:
        return [first], 0
    turns = steps.stores_in_turn(first, int(store["before"]))
    return turns, (pa - int(store["pa"])) // int(store["size"]) % len(turns)


def stores_beside(record: Record, pc: int) -> tuple[int, ...]:
    """The VAs of the stores that take turns with the one at VA ``pc`` in a loop."""
    from relokit.runtime.judge.rules.makers import steps_of

    steps = steps_of(record)
    return () if steps is None else tuple(steps.stores_in_turn(pc, 0)[1:])


def where_nothing_is_stored(record: Record, pa: int | None = None) -> tuple[Used, ...]:
    """What leads to the stores that there were: they have gone elsewhere, or ended too early.

    Those nearest to PA ``pa``, or the last ones; where there are none, the branches that had them
    left out.
    """
    if isinstance(record.trace, Unknown):
        return ()
    from relokit.runtime.record.trace import TraceKind

    near = stores_near(record, pa) if pa is not None else ()
    stores = record.trace.of(TraceKind.STORE)
    if near or not len(stores):
        return near or (Used(choices=True),)
    return _turn(record, stores[-1])


def stores_near(record: Record, pa: int) -> tuple[Used, ...]:
    """The stores that have come nearest to PA ``pa``, if any did within some bytes of it."""
    if isinstance(record.trace, Unknown):
        return ()
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    stores = record.trace.of(TraceKind.STORE)
    wanted, end = np.uint64(pa), stores["pa"] + stores["length"]
    away = np.where(stores["pa"] > wanted, stores["pa"] - wanted, wanted + np.uint64(1) - end)
    nearest = int(np.argmin(away)) if len(stores) else None
    if nearest is None or away[nearest] >= _NEAR:
        return ()
    return _turn(record, stores[nearest])


def _turn(record: Record, store: Any) -> tuple[Used, ...]:
    """The stores that take turns in a range, and what leads to them."""
    from relokit.runtime.judge.rules.makers import steps_of

    pc, steps = int(store["pc"]), steps_of(record)
    turns = [] if steps is None else steps.stores_in_turn(pc, int(store["before"]))
    return (*(Used(at, (), itself=True) for at in turns), Used(pc))


def _last_store(trace: Trace, pa: int) -> Any:
    """The record of the last store to PA ``pa``."""
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    stores = trace.of(TraceKind.STORE)
    first, length = stores["pa"], stores["length"]
    at = np.uint64(pa)
    found = np.flatnonzero((first <= at) & (at - first < length))
    return stores[found[-1]] if len(found) else None
