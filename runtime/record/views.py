"""What a CPU may translate by, moment by moment: register values in force, or perhaps in force.

A write of TTBR, TCR, MAIR, SCTLR counts from the MSR on, what it replaced until the next context
synchronisation event. Source: ARM DDI 0487, D24.1.2.2, D8.1, D8.16.

A moment is a number of records of the trace that have happened: record n is between n and n+1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import field, replace
from itertools import product
from weakref import ReferenceType, ref

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import HCR_EL2_E2H
from relokit.codegen.system_registers import REGISTERS
from relokit.runtime.arch import geometry as g
from relokit.runtime.arch.redirection import TO_EL1, TO_EL2, is_redirecting
from relokit.runtime.arch.translation import (
    SCTLR_M,
    SCTLR_WXN,
    WalkRegisters,
    table_range,
)
from relokit.runtime.arch.walker import HALF
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.tables import TableKey
from relokit.runtime.record.trace import Trace, TraceKind

NEVER = 1 << 62
MAX_WRITES = 1 << 8
"""Register writes in a trace: a move has some ten."""
MAX_VIEWS = 1 << 10
SYNCHRONISES = (TraceKind.ISB, TraceKind.EXCEPTION, TraceKind.ERET)
LEVELS = (1, 2)

_FAMILIES = ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR")
_OWNERS = {REGISTERS[f"{name}_EL{level}"]: (level, name) for name in _FAMILIES for level in LEVELS}
_HCR = REGISTERS["HCR_EL2"]
_A1 = 1 << 22
_ASID = 48
_SCTLR_EE = 1 << 25
_SCTLR_HELD = SCTLR_WXN | _SCTLR_EE
"""Bits of SCTLR that a TLB may hold, and that matter here (D8.16, RVNRFW)."""
_TCR_BOTH = 0b111 << g.IPS | 1 << g.DS
_TCR_LOWER = 0x3F << g.T0SZ | 0xFF << g.EPD0 | 1 << g.TBI0 | 1 << g.HPD0 | 0b11 << g.TG0
_TCR_UPPER = 0x3F << g.T1SZ | 0x7F << g.EPD1 | 1 << g.TBI1 | 1 << g.HPD1 | 0b11 << g.TG1


@dataclass(frozen=True, slots=True)
class TranslationView:
    """One range of a regime under one set of values.

    ``level`` 1 is the EL1&0 regime, 2 that of EL2 (EL2&0 with E2H). ``tables`` is None where
    nothing is walked (EPD), or where nobody knows what is (``unknown``). ``held`` are all other
    bits that a TLB may hold with an entry.
    """

    level: int
    upper: bool
    tables: TableKey | None
    asid: int
    mair: int
    wxn: bool
    held: int
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """``view`` may be translated by from moment ``begin`` to ``end``.

    ``cause`` is the record of the MSR that it came with, None if it was so at the start;
    ``register`` what that wrote (``TTBR1``). ``replaced`` is the record of the MSR that ended it,
    NEVER if none did: from there to ``end`` it and the new value both count.
    """

    view: TranslationView
    begin: int
    end: int
    cause: int | None
    register: str
    replaced: int


@dataclass(slots=True, eq=False)
class _Value:
    """A register's value, ``known`` or not: counts from moment ``begin`` to ``end``."""

    value: int
    begin: int
    end: int = NEVER
    cause: int | None = None
    replaced: int = NEVER
    known: bool = True


@dataclass(slots=True, eq=False)
class _Registers:
    """The values of one regime, register by register, in order."""

    values: dict[str, list[_Value]] = field(default_factory=dict)
    e2h: bool = False


@dataclass(frozen=True)
class Views:
    """All spans of a trace, in the order in which they begin. ``steps`` are the moments behind
    context synchronisation events."""

    spans: tuple[Span, ...]
    steps: tuple[int, ...]

    def next_step(self, moment: int) -> int:
        """The first moment behind a context synchronisation event that is after ``moment``."""
        at = bisect_right(self.steps, moment)
        return self.steps[at] if at < len(self.steps) else NEVER


_last: tuple[ReferenceType[Trace], int, Views] | None = None


def views_of(trace: Trace, cpu_bits: int) -> Views:
    """What the CPU of ``trace`` may translate by; ``cpu_bits`` are the widest addresses it has.

    Raises UnknownFactError for more register writes than any code has that means it.
    """
    global _last
    if _last is None or _last[0]() is not trace or _last[1] != cpu_bits:
        # A run asks twice: for the tables, and to judge.
        _last = ref(trace), cpu_bits, _found(trace, cpu_bits)
    return _last[2]


def _found(trace: Trace, cpu_bits: int) -> Views:
    steps = np.flatnonzero(trace.are(SYNCHRONISES)) + 1
    views = Views((), tuple(steps.tolist()))
    spans: list[Span] = []
    for level, registers in _followed(trace, views).items():
        spans += _spans(level, registers, cpu_bits)
    return Views(tuple(sorted(spans, key=lambda span: span.begin)), views.steps)


def _followed(trace: Trace, views: Views) -> dict[int, _Registers]:
    """The registers of each regime that is in use at some time."""
    start, records = trace.start, trace.records
    hcr = start.get("HCR_EL2", 0)
    found = {
        level: _Registers(
            {name: [_Value(start.get(f"{name}_EL{level}", 0), 0)] for name in _FAMILIES},
            level == 2 and bool(hcr & HCR_EL2_E2H),
        )
        for level in LEVELS
    }
    user = _user_space(trace)
    if user is not None:
        found[user].values["TTBR0"] = [_Value(0, 0, known=False)]
    numbers = np.flatnonzero(trace.kinds == TraceKind.MSR)
    if len(numbers) > MAX_WRITES:
        raise UnknownFactError(f"{len(numbers):,} register writes")
    columns = (records[name][numbers].tolist() for name in ("encoding", "value", "el"))
    for number, key, value, el in zip(numbers.tolist(), *columns, strict=True):
        if key == _HCR:
            hcr = value
            found[2].e2h = bool(hcr & HCR_EL2_E2H)
            continue
        if is_redirecting(hcr, el):
            key = TO_EL2.get(key, TO_EL1.get(key, key))
        if key not in _OWNERS:
            continue
        level, name = _OWNERS[key]
        # Nothing walks by a regime that is not the current level's (D8.16, RFXGNQ).
        in_context = (2 if el == 2 else 1) == level
        end = views.next_step(number + 1) if in_context else number + 1
        values = found[level].values[name]
        if values[-1].known and values[-1].value == value:
            continue
        for old in values:
            if old.replaced == NEVER:
                old.replaced, old.end = number, end
        values.append(_Value(value, number + 1, cause=number))
    return found


def _user_space(trace: Trace) -> int | None:
    """The regime in which the trace begins in a kernel's half; TTBR0 is then a process's.

    What it holds says little: a kernel may have put it aside (a reserved table), and whoever asked
    for the reboot had tables of his own there a moment before.
    """
    records = trace.records
    first = np.flatnonzero(trace.kinds == TraceKind.FETCH)[:1]
    if not len(first) or not int(records["va"][first[0]]) & HALF:
        return None
    return 2 if records["el"][first[0]] == 2 else 1


def _spans(level: int, registers: _Registers, cpu_bits: int) -> Iterator[Span]:
    """What the values of one regime come to, equal views that follow each other as one."""
    if not any(one.value & SCTLR_M for one in registers.values["SCTLR"]):
        return
    single = level == 2 and not registers.e2h
    for upper in (False,) if single else (False, True):
        # The other TTBR counts for its ASID only.
        other = registers.values[f"TTBR{not upper:d}"]
        beside = any(one.value >> _ASID for one in other) and not single
        names = ("SCTLR", "TCR", "MAIR", f"TTBR{upper:d}", *[f"TTBR{not upper:d}"] * beside)
        last: dict[TranslationView, Span] = {}
        for chosen in _together([registers.values[name] for name in names]):
            sctlr, tcr, mair, own, *others = (one.value for one in chosen)
            if not sctlr & SCTLR_M:
                continue
            pair = (sum(others), own) if upper else (own, sum(others))
            walk = WalkRegisters(sctlr, tcr, *pair, mair, registers.e2h, cpu_bits)
            view = _view(level, upper, walk, single)
            if not chosen[3].known:
                view = replace(view, tables=None, unknown=True)
            latest = max(range(len(chosen)), key=lambda at: chosen[at].begin)
            span = Span(
                view,
                chosen[latest].begin,
                min(one.end for one in chosen),
                chosen[latest].cause,
                names[latest],
                min(one.replaced for one in chosen),
            )
            before = last.get(view)
            if before is not None and before.end >= span.begin:
                span = Span(
                    view, before.begin, max(before.end, span.end), before.cause, before.register,
                    max(before.replaced, span.replaced),
                )  # fmt: skip
            elif before is not None:
                yield before
            last[view] = span
            if len(last) > MAX_VIEWS:
                raise UnknownFactError(f"more than {MAX_VIEWS:,} ways to translate")
        yield from last.values()


def _together(histories: list[list[_Value]]) -> Iterator[tuple[_Value, ...]]:
    """Values, one of each history, that count at the same time; in the order they come to."""
    moments = sorted({one.begin for history in histories for one in history})
    told: set[tuple[int, ...]] = set()
    for moment in moments:
        now = [[one for one in h if one.begin <= moment < one.end] for h in histories]
        for chosen in product(*now):
            who = tuple(one.begin for one in chosen)
            if who not in told:
                told.add(who)
                yield chosen


def _view(level: int, upper: bool, walk: WalkRegisters, single: bool) -> TranslationView:
    r = table_range(walk, level, upper)
    asid = 0 if single else (walk.ttbr1 if walk.tcr & _A1 else walk.ttbr0) >> _ASID
    control = walk.tcr if single else walk.tcr & (_TCR_BOTH | (_TCR_UPPER if upper else _TCR_LOWER))
    return TranslationView(
        level,
        upper,
        TableKey.of(r) if r.enabled else None,
        asid,
        walk.mair,
        bool(walk.sctlr & SCTLR_WXN),
        control | (walk.sctlr & _SCTLR_EE) << 32,
    )
