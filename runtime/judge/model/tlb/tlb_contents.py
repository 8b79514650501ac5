"""What a TLB may hold over a trace, as sets: all that was ever in a TTBR, until a TLBI ends it.

An entry may be taken from tables at any time from the MSR on that puts them into a TTBR, up to the
context synchronisation behind the one that takes them out; it stays until an invalidation that
covers it is executed after that, and is complete. Source: ARM DDI 0487, D8.16, D8.17.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import field
from enum import Enum

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch import descriptors as d
from relokit.runtime.judge.model.tlb.invalidation import Invalidation, Reach, invalidations
from relokit.runtime.judge.model.tlb.translations import (
    Differs,
    Disagreement,
    Hole,
    difference,
)
from relokit.runtime.record.known import Unknown, UnknownFactError
from relokit.runtime.record.tables import TableFacts, Tables, UnknownTables
from relokit.runtime.record.trace import Trace
from relokit.runtime.record.views import LEVELS, NEVER, Span, TranslationView, Views, views_of

MAX_COMPARED = 1 << 22
"""Ranges that are compared in all; those of a move are some hundred."""


class Why(Enum):
    """Why something is still held, the nearest to right last."""

    NOTHING = "no invalidation"
    STEP = "one live table follows another"
    REGIME = "an invalidation of another regime"
    ASID = "an invalidation of entries that are not global"
    LAST_LEVEL = "an invalidation of the last level only"
    OPERAND = "an operand that names something else"
    EARLY = "an invalidation while the old value was still in force"
    UNCOMPLETED = "an invalidation that is not complete"
    UNSYNCHRONISED = "an invalidation without context synchronisation"


_RANK = {why: number for number, why in enumerate(Why)}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A TLBI behind what it should have ended, and ``why`` it has not."""

    by: Invalidation
    why: Why


@dataclass(slots=True, eq=False)
class Held:
    """What a TLB may hold by ``view``, from moment ``begin`` on.

    ``tables`` is None where nobody knows them. ``cause`` is the record of the MSR that put it in
    force, and ``register`` what that wrote: None where it was so from the start, "" where it never
    was. It is walked up to moment ``end``; ``replaced`` is the record of the MSR that took it out
    of force. ``gone`` is the moment from which nothing of it is left, ``holes`` are VAs of which
    nothing is left, each with its moment.
    """

    view: TranslationView
    tables: Tables | None
    begin: int
    end: int
    replaced: int
    cause: int | None
    register: str
    gone: int = NEVER
    holes: list[tuple[int, int, int]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    def holes_at(self, moment: int) -> list[Hole]:
        """Those that there are at ``moment``, ascending, those that touch as one."""
        merged: list[Hole] = []
        for start, stop, since in self.holes:
            if since > moment:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], stop)
            else:
                merged.append((start, stop))
        return merged


@dataclass(frozen=True, slots=True)
class Clash:
    """Both ``old``, held from before, and ``new`` may be used from moment ``new.begin`` on.

    ``cause`` is the record of the MSR that puts the new one in force. ``why`` is why ``old`` is
    still there, by ``attempt`` if there was one.
    """

    old: Held
    new: Held
    cause: int
    where: Disagreement
    why: Why
    attempt: Attempt | None


class Tlb:
    """``trace`` followed to its end, by the ``facts`` about its tables.

    Raises UnknownFactError for a trace of more than code has that means it.
    """

    def __init__(self, trace: Trace, facts: TableFacts) -> None:
        self.trace = trace
        self.views: Views = views_of(trace, facts.cpu_bits)
        self.invalidations = invalidations(trace)
        self.unknown: list[Unknown] = []
        self._tables = {one.key: one for one in facts.tables}
        self.held = [*self._before(), *self._held()]
        ranges = sum(_ranges(held.tables) for held in self.held if held.tables is not None)
        if ranges * len(self.held) > MAX_COMPARED:
            raise UnknownFactError(f"{len(self.held):,} tables of {ranges:,} ranges")
        for held in self.held:
            self._invalidate(held)
        self.clashes = list(self._clashes())

    def _held(self) -> Iterator[Held]:
        for span in self.views.spans:
            view = span.view
            tables = None
            if view.tables is not None:
                found = self._tables.get(view.tables)
                if not isinstance(found, Tables):
                    self.unknown.append(_why(found))
                    continue
                tables = found
            elif not view.unknown:
                continue
            yield Held(view, tables, span.begin, span.end, span.replaced, span.cause, span.register)

    def _before(self) -> Iterator[Held]:
        """Of a regime that was off, nobody knows what is left from before (D8.16.1, RBQCDZ)."""
        on = {span.view.level for span in self.views.spans if span.begin == 0}
        for level in LEVELS:
            if level not in on:
                for upper in (False, True):
                    view = TranslationView(
                        level, upper, None, 0, 0, wxn=False, held=0, unknown=True
                    )
                    yield Held(view, None, 0, 0, -1, None, "")

    # What ends it ---------------------------------------------------------------------------------

    def _invalidate(self, held: Held) -> None:
        for one in self.invalidations:
            if one.number < held.replaced or one.illegal:
                continue
            if one.number >= held.gone:
                break
            why = self._misses(one, held)
            if why is None and one.number < held.end:
                why = Why.EARLY
            if why is not None:
                held.attempts.append(Attempt(one, why))
                continue
            held.attempts.append(Attempt(one, Why.UNCOMPLETED))
            if one.scope is Reach.ADDRESS and held.tables is not None:
                for start, stop in _covered(one, held.tables):
                    insort(held.holes, (start, stop, one.complete))
            else:
                held.gone = min(held.gone, one.complete)

    def _misses(self, one: Invalidation, held: Held) -> Why | None:
        """Why ``one`` ends nothing of ``held``, however well it is placed."""
        if one.level != held.view.level or one.scope is Reach.STAGE2:
            return Why.REGIME
        if one.scope is Reach.ALL:
            return None
        if held.tables is None:
            return Why.ASID if one.scope is Reach.ASID else Why.OPERAND
        others = [leaves for leaves in held.tables.leaves if not leaves.bits & d.NG]
        if one.scope is Reach.ASID:
            return Why.ASID if others or one.asid != held.view.asid else None
        if not list(_covered(one, held.tables)):
            return Why.OPERAND
        # Its tables stay held: above the last level, and, being of no ASID, for every other one.
        if one.last_level:
            return Why.LAST_LEVEL
        return None if one.any_asid or one.asid == held.view.asid else Why.OPERAND

    # What comes of it -----------------------------------------------------------------------------

    def _clashes(self) -> Iterator[Clash]:
        told: set[Held] = set()
        for new in self.held:
            if new.cause is None or new.tables is None:
                continue
            for old in self._beside(new):
                where = None if old in told else _difference(old, new, new.tables)
                if where is not None:
                    told.add(old)
                    step = old.replaced == new.cause
                    why, attempt = (Why.STEP, None) if step else reason(old, new.cause)
                    yield Clash(old, new, new.cause, where, why, attempt)

    def _beside(self, new: Held) -> Iterator[Held]:
        """What else is held for the same addresses as ``new`` comes into force."""
        for old in self.held:
            same = (old.view.level, old.view.upper) == (new.view.level, new.view.upper)
            if same and old.begin < new.begin < old.gone:
                yield old

    def is_on(self, level: int, moment: int) -> bool:
        """Whether the MMU of ``level`` may be on at ``moment``."""
        return self.is_on_between(level, moment, moment + 1)

    def is_on_between(self, level: int, begin: int, end: int) -> bool:
        """Whether it may be at any moment from ``begin`` on before ``end``."""
        return any(span.begin < end and begin < span.end for span in self._of(level))

    def in_force(self, view: TranslationView, moment: int) -> list[Held]:
        """What may be walked at ``moment`` for the addresses that ``view`` is for."""
        where = view.level, view.upper
        return [
            held for held in self.held
            if held.begin <= moment < held.end and (held.view.level, held.view.upper) == where
        ]  # fmt: skip

    def _of(self, level: int) -> list[Span]:
        return [span for span in self.views.spans if span.view.level == level]


def _unknown(level: int, *, upper: bool) -> TranslationView:
    return TranslationView(level, upper, None, 0, 0, wxn=False, held=0, unknown=True)


def reason(held: Held, before: int) -> tuple[Why, Attempt | None]:
    """Why ``held`` is still there at record ``before``."""
    attempts = [one for one in held.attempts if one.by.number < before]
    best = max(attempts, key=lambda one: (_RANK[one.why], one.by.number), default=None)
    return (Why.NOTHING, None) if best is None else (best.why, best)


def _difference(old: Held, new: Held, tables: Tables) -> Disagreement | None:
    if old.tables is None:
        # Whatever it is: nothing says that it is the same.
        leaves = tables.leaves
        size = sum(one.size for one in leaves)
        return Disagreement(leaves[0].va, size, (), None, leaves[0]) if leaves else None
    if old.view == new.view or not old.tables.leaves:
        return None
    controlled = old.replaced == new.cause and not new.register.startswith("TTBR")
    if controlled and old.view.held != new.view.held:
        # What a TLB holds of TCR and SCTLR beside an entry counts whatever the entry is (RVNRFW).
        first, size = old.tables.leaves[0], sum(one.size for one in old.tables.leaves)
        return Disagreement(first.va, size, (Differs.CONTROL,), first, None)
    return difference(old.tables, tables, old.view, new.view, old.holes_at(new.begin))


def _covered(one: Invalidation, tables: Tables) -> Iterator[Hole]:
    """The VAs of ``tables`` that an invalidation by address is certain to reach, whole entries."""
    page = tables.key.page_size
    if one.page not in (0, page):
        return
    at, end = one.va, one.va + one.size
    while at < end:
        number = bisect_right(tables.leaves, at, key=lambda other: other.end)
        if number == len(tables.leaves) or tables.leaves[number].va >= end:
            return
        leaves = tables.leaves[number]
        at = max(at, leaves.va)
        if one.ttl is not None and one.ttl != leaves.level:
            return
        each = entry_size(page, leaves.level)
        stop = min(leaves.end, -(-end // each) * each)
        yield at & -each, stop
        at = stop


def entry_size(page: int, level: int) -> int:
    """Bytes that an entry of ``level`` maps."""
    shift = page.bit_length() - 1
    return 1 << shift + (3 - level) * (shift - 3)


def _ranges(tables: Tables) -> int:
    return len(tables.leaves) + len(tables.pages) + len(tables.entries)


def _why(found: UnknownTables | None) -> Unknown:
    if found is None:
        return Unknown("tables that were in a TTBR were not recorded")
    return found.why
