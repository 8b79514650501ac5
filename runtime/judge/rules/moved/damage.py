"""What the move has done to the pages that it needs itself: nothing, if all is well.

By their bytes, where no trace tells of each store (own.store).

List, code, vectors and tables lie outside of all destinations (kexec allocates control pages so).
struct kimage and the empty table may lie in one: they are read before anything is overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.rules.rule import Applies, Broken, Check, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import Unknown, known
from relokit.runtime.record.memory_facts import Damage
from relokit.runtime.record.record import Record

MAY_BE_FILLED = frozenset({OwnerKind.KIMAGE, OwnerKind.ZERO_PAGE})
"""Owners of pages that a destination may hold: the move reads them before it fills it."""
ALLOCATION = "kernel/kexec_core.c: kimage_alloc_control_pages"


def _kimage_takes_part(record: Record) -> str | None:
    if record.damage is None:
        return "no kimage takes part"
    trace = record.trace
    if isinstance(trace, Unknown) or trace.full_at or isinstance(record.ownership, Unknown):
        return None
    return "the trace tells of every store: own.store"


def _moves(record: Record) -> str | None:
    if record.damage is not None and record.jump is None:
        return "nothing is moved: the code that moves is skipped"
    return _kimage_takes_part(record)


def _to(*owners: OwnerKind) -> Check:
    def check(record: Record) -> Iterator[Broken]:
        assert record.damage is not None
        for damage in known(record.damage):
            filled = damage.in_destination and damage.owner.kind in MAY_BE_FILLED
            if damage.owner.kind in owners and not filled:
                yield _changed(damage)

    return check


def _changed(damage: Damage) -> Broken:
    words = f"{damage.count} words" if damage.count > 1 else "a word"
    return Broken(
        f"the move has changed {words} of the {damage.owner}, the first at PA {damage.pa:#x}: "
        f"{damage.after:#x} instead of {damage.before:#x}",
        address=damage.pa,
    )


def _rule(name: str, must: str, applies: Applies, *owners: OwnerKind) -> Rule:
    return Rule(
        f"damage.{name}",
        must,
        ALLOCATION,
        Severity.ERROR,
        applies,
        _to(*owners),
        "a destination that overlaps it, or a store that went astray",
    )


DAMAGE = (
    _rule(
        "kimage",
        "the move leaves struct kimage alone, unless it lies in a destination",
        _kimage_takes_part,
        OwnerKind.KIMAGE,
    ),
    _rule(
        "code",
        "the move leaves its own code and the EL2 vectors alone",
        _moves,
        OwnerKind.CONTROL_PAGE,
        OwnerKind.EL2_VECTORS,
    ),
    _rule("list", "the move leaves its list alone", _moves, OwnerKind.LIST),
    _rule(
        "zero-page",
        "the move leaves the empty table alone, unless it lies in a destination",
        _moves,
        OwnerKind.ZERO_PAGE,
    ),
    _rule(
        "tables",
        "the move leaves the copy of the linear map and the identity map alone",
        _moves,
        OwnerKind.LINEAR_MAP,
        OwnerKind.CONTROL_IDMAP,
    ),
)
