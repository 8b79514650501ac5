"""Two sets of tables compared: where both map, and not to the same.

Source: ARM DDI 0487, D8.17.1 (RWHZWS): which changes need break-before-make.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import Enum

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch import descriptors as d
from relokit.runtime.record.tables import Leaves, Tables
from relokit.runtime.record.views import TranslationView

_PERMISSIONS = d.AP_READ_ONLY | d.AP_EL0 | d.PXN | d.UXN | d.DBM
Hole = tuple[int, int]
"""VAs from the first one up to the second one that nothing is held for."""


class Differs(Enum):
    """What of a translation is another; the value is how that is shown."""

    ADDRESS = "physical address"
    TYPE = "memory type or shareability"
    SIZE = "size of page or block"
    GLOBAL = "global or of an ASID"
    PERMISSION = "permission"
    CONTROL = "what TCR or SCTLR say of it"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Where two views differ: ``size`` bytes in all, from VA ``va`` on, in ``what``.

    ``old`` and ``new`` are the leaves there; None where what is held is unknown, or where it is
    the registers alone that differ.
    """

    va: int
    size: int
    what: tuple[Differs, ...]
    old: Leaves | None
    new: Leaves | None


def both(old: Sequence[Leaves], new: Sequence[Leaves]) -> Iterator[tuple[int, int, Leaves, Leaves]]:
    """Each range of VAs that both map, (first, end, old, new); both ascend by VA."""
    at = beside = 0
    while at < len(old) and beside < len(new):
        one, other = old[at], new[beside]
        first, end = max(one.va, other.va), min(one.end, other.end)
        if first < end:
            yield first, end, one, other
        if one.end <= other.end:
            at += 1
        else:
            beside += 1


def difference(
    old: Tables,
    new: Tables,
    old_view: TranslationView,
    new_view: TranslationView,
    holes: Sequence[Hole],
) -> Disagreement | None:
    """Where ``old`` and ``new`` differ, leaving out ``holes``; None if they do nowhere."""
    found: list[tuple[int, int, Leaves, Leaves]] = []
    what: dict[Differs, None] = {}
    for first, end, one, other in both(old.leaves, new.leaves):
        differs = list(_differs(first, one, other, old_view, new_view))
        if differs and old_view.asid != new_view.asid and one.bits & other.bits & d.NG:
            continue
        if differs:
            for start, stop in without(first, end, holes):
                what.update(dict.fromkeys(differs))
                found.append((start, stop, one, other))
    if not found:
        return None
    va, _, one, other = found[0]
    size = sum(stop - start for start, stop, _, _ in found)
    return Disagreement(va, size, tuple(what), one, other)


def _differs(
    va: int, one: Leaves, other: Leaves, old_view: TranslationView, new_view: TranslationView
) -> Iterator[Differs]:
    if one.pa + va - one.va != other.pa + va - other.va:
        yield Differs.ADDRESS
    changed = one.bits ^ other.bits
    if _memory(one, old_view) != _memory(other, new_view) or changed & d.SH:
        yield Differs.TYPE
    if one.level != other.level or changed & d.CONTIGUOUS:
        yield Differs.SIZE
    if changed & d.NG:
        yield Differs.GLOBAL
    if changed & _PERMISSIONS or old_view.wxn != new_view.wxn:
        yield Differs.PERMISSION


def _memory(leaves: Leaves, view: TranslationView) -> int:
    index = (leaves.bits & d.ATTR_INDEX) >> d.ATTR_INDEX_SHIFT
    return view.mair >> 8 * index & 0xFF


def without(first: int, end: int, holes: Sequence[Hole]) -> Iterator[Hole]:
    """What is left of [first, end) without ``holes``, which ascend and do not overlap."""
    at = first
    for start, stop in holes:
        if stop <= at or start >= end:
            continue
        if start > at:
            yield at, start
        at = max(at, stop)
    if at < end:
        yield at, end


def leaf_at(leaves: Sequence[Leaves], va: int) -> Leaves | None:
    """The leaves that map ``va``, of ``leaves`` in order."""
    at = bisect_right(leaves, va, key=lambda one: one.va) - 1
    return leaves[at] if at >= 0 and va < leaves[at].end else None
