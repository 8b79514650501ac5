"""How it came to that: who stored what is wrong, and from where a wrong place was come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relokit.runtime.judge.rules.disassembly import disassemble, listing
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.rule import Broken
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import LegName, Record

if TYPE_CHECKING:
    from relokit.runtime.record.trace import Trace

NOTHING_STORED = "nothing has stored to it"
_LAST_FETCHES = 8


def told_where_stored(record: Record, broken: Broken, pa: int) -> Broken:
    """``broken``, which is about PA ``pa``, told at the instruction that has stored there last."""
    if isinstance(record.trace, Unknown) or isinstance(record.code, Unknown):
        return broken
    store = _last_store(record.trace, pa)
    if store is None:
        uses = where_nothing_is_stored(record)
        return replace(broken, notes=(*broken.notes, NOTHING_STORED), uses=uses)
    from relokit.runtime.judge.rules.register_use import use_of

    stores, which = _stores_of(record, store, pa)
    pc, code = stores[which], record.code
    word = code.word(pc)
    operands = use_of(word) if word is not None else None
    stored = tuple(sorted(operands.reads - operands.address)) if operands else ()
    return replace(
        broken,
        address=pc,
        place=code.places.get(pc),
        listing=listing(code.around(pc), pc),
        uses=(Used(pc, stored), Used(pc, cost=2)),
    )


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


def where_nothing_is_stored(record: Record) -> tuple[Used, ...]:
    """What leads to the stores that there were: they have gone elsewhere, or ended too early."""
    if isinstance(record.trace, Unknown):
        return ()
    from relokit.runtime.record.trace import TraceKind

    stores = record.trace.of(TraceKind.STORE)
    return (Used(int(stores["pc"][-1])),) if len(stores) else (Used(choices=True),)


def way_to_the_jump(record: Record) -> tuple[Used, ...]:
    """What went before the jump: the branch that led there, the call to EL2 and what that did."""
    from relokit.runtime.judge.rules.makers import steps_of

    steps, left = steps_of(record), record.leg(LegName.PRELUDE)
    if steps is None or left is None or isinstance(record.trace, Unknown):
        return ()
    from relokit.runtime.record.trace import TraceKind

    step = steps.at(left.instructions) - 1
    uses = [Used(steps.pc(step), itself=True)] if step >= 0 else []
    calls = record.trace.of(TraceKind.HVC, TraceKind.ERET)
    calls = calls[calls["before"] < left.instructions]
    for row in (calls[calls["kind"] == kind][-1:] for kind in (TraceKind.HVC, TraceKind.ERET)):
        # The function's number, and the address that it goes to; why the stub went this way.
        came = row["kind"] == TraceKind.ERET
        uses += [Used(int(pc), () if came.all() else (0, 1), itself=True) for pc in row["pc"]]
    return (*uses, Used(system=("VBAR_EL2",), begun=left.instructions, cost=2))


def _last_store(trace: Trace, pa: int) -> Any:
    """The record of the last store to PA ``pa``."""
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    stores = trace.of(TraceKind.STORE)
    first, length = stores["pa"], stores["length"]
    at = np.uint64(pa)
    found = np.flatnonzero((first <= at) & (at - first < length))
    return stores[found[-1]] if len(found) else None


def last_known(record: Record) -> int | None:
    """VA of the instruction of code that is known that was executed last."""
    if isinstance(record.trace, Unknown) or isinstance(record.code, Unknown):
        return None
    from relokit.runtime.record.trace import TraceKind

    for row in record.trace.of(TraceKind.FETCH)[::-1][:_LAST_FETCHES]:
        pc = int(row["va"]) + int(row["length"]) - 4
        if pc in record.code.places:
            return pc
    return None


def come_from(record: Record) -> Iterator[str]:
    """Which instruction of code that is known was executed last."""
    pc = last_known(record)
    if pc is not None and not isinstance(record.code, Unknown):
        yield f"come from {called(record.code, pc)}"


def called(code: CodeSeen, pc: int) -> str:
    """The instruction at VA ``pc`` and its place."""
    word, place = code.word(pc), code.places.get(pc)
    text = "code" if word is None else f"`{disassemble(word, pc)}`"
    return f"{text} at {pc:#x}, {place}" if place else f"{text} at {pc:#x}"
