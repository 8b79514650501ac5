"""What is told in which order: findings with one cause together, the first occurrence first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.rules.rule import AT_THE_JUMP, Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record

MAX_TOLD = 8
"""Findings of one rule that are told one by one."""
_RANK = list(Severity)
_NEVER, _LAST = 1 << 62, 1 << 63


@dataclass(frozen=True, slots=True)
class Told:
    """A rule and a way in which it is broken; or, if it is the ``rest``, how many ways more."""

    rule: Rule
    broken: Broken
    rest: bool = False

    @property
    def rank(self) -> int:
        """Errors are 0, and what is less comes after."""
        return _RANK.index(self.rule.severity)


def bounded(rule: Rule, found: Sequence[Broken]) -> Iterator[Told]:
    """The first MAX_TOLD of ``found``, and how many more there are."""
    yield from (Told(rule, broken) for broken in found[:MAX_TOLD])
    more = len(found) - MAX_TOLD
    if more > 0:
        yield Told(rule, Broken(f"and {more:,} more findings of this rule"), rest=True)


def grouped(record: Record, told: Iterable[Told]) -> tuple[tuple[Told, ...], ...]:
    """``told`` by cause: what is found at one instruction is one group, its worst finding first.

    Groups with an error come before those with a warning. Among these, what was prepared wrongly
    before the jump comes first, then what shows at an instruction or where something is entered,
    as it happened, then what is about memory and no moment.
    """
    groups: dict[object, list[Told]] = {}
    for number, one in enumerate(told):
        groups.setdefault(_cause(one.broken, number), []).append(one)
    occurrence = _Occurrence(record)
    ordered = [tuple(sorted(group, key=_in_a_group)) for group in groups.values()]
    if len(ordered) > 1:
        ordered.sort(key=lambda group: (group[0].rank, *occurrence.of(group[0])))
    return tuple(ordered)


def _in_a_group(told: Told) -> tuple[int, bool]:
    """The worst first, and of these what explains the others."""
    return told.rank, not told.broken.explains


def _cause(broken: Broken, number: int) -> object:
    """What two findings have in common that are one group: the instruction."""
    return ("at", broken.address) if _at_an_instruction(broken) else number


def _at_an_instruction(broken: Broken) -> bool:
    return bool(broken.listing or broken.place)


class _Occurrence:
    """When what is broken was first seen in ``record``."""

    def __init__(self, record: Record) -> None:
        self._trace = None if isinstance(record.trace, Unknown) else record.trace
        self._record = record
        self._seen: dict[int, int] = {}

    def of(self, told: Told) -> tuple[int, int]:
        """After how many instructions that was, and what comes first of what was then."""
        broken = told.broken
        if told.rest:
            return _LAST, 0
        if broken.explains:
            return 0, 0
        if broken.station is not None:
            begun = -1 if broken.station == AT_THE_JUMP else self._record.begun(broken.station)
            return begun, 1 + broken.station
        if broken.address is None or not _at_an_instruction(broken):
            return self._record.begun(len(self._record.promises)), _LAST
        if self._trace is None:
            return _NEVER, 0
        if broken.address not in self._seen:
            self._seen[broken.address] = self._first(broken.address)
        return self._seen[broken.address], 0

    def _first(self, address: int) -> int:
        """How many instructions had begun before the first one at VA ``address``."""
        assert self._trace is not None
        import numpy as np

        from relokit.runtime.record.trace import TraceKind

        records = self._trace.records
        kind, pc, length = records["kind"], records["pc"], records["length"]
        at = np.uint64(address)
        fetched = (kind == TraceKind.FETCH) & (at >= pc) & (at - pc < length)
        # A fill comes when the engine likes.
        found = np.flatnonzero(((pc == at) & (kind != TraceKind.FILL)) | fetched)
        if not len(found):
            return _NEVER
        first = records[found[0]]
        inside = (address - int(first["pc"])) // 4 if first["kind"] == TraceKind.FETCH else 0
        return int(first["before"]) + inside
