"""Trespass: an access to memory that is not the move's, not any more or not yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from enum import Enum

from relokit.codegen.base.nouns import dataclass

MAX_SPANS = 64
"""Ranges that a trespass remembers, the first ones."""


class TrespassKind(Enum):
    """What is wrong."""

    STORE = "a store to what is not to be filled"
    SOURCE = "a store to a source page that is still to come"
    READ = "a read of what the move has overwritten"
    PAST_END = "a read of the list behind its end"
    STRAY_READ = "a read of memory that may be anybody's"
    FETCH = "a fetch of what the move has overwritten"
    TABLES = "tables that the move has overwritten are put to use"
    UNFILLED = "tables that the move has not filled in yet are put to use"
    UNWRITTEN = "bytes that are handed over and nobody has written"


@dataclass(slots=True)
class Trespass:
    """One kind at one instruction: ``pc`` is its VA, None if there is none to name.

    ``spans`` are the first (PA, bytes) it is about, ``size`` the bytes of all of them, ``times`` in
    how many accesses it is. ``others`` are the VAs of instructions that take part, with their
    bytes. ``register`` is the one that gets TABLES or UNFILLED.
    """

    kind: TrespassKind
    pc: int | None
    size: int = 0
    times: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)
    register: str = ""

    def add(self, pa: int, size: int, other: int | None = None) -> None:
        """Count one more: ``size`` bytes at ``pa``, in which the instruction ``other`` has part."""
        self.times += 1
        self.size += size
        if len(self.spans) < MAX_SPANS:
            self.spans.append((pa, size))
        if other is not None:
            self.others[other] = self.others.get(other, 0) + size


class Trespasses:
    """All of a trace, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: dict[tuple[TrespassKind, int | None, str], Trespass] = {}

    def at(self, kind: TrespassKind, pc: int | None, register: str = "") -> Trespass:
        """The one of ``kind`` at ``pc``, new if there was none yet."""
        made = Trespass(kind, pc, register=register)
        return self._found.setdefault((kind, pc, register), made)

    def of(self, kinds: Iterable[TrespassKind]) -> Iterator[Trespass]:
        """Those of ``kinds``."""
        wanted = set(kinds)
        return (one for one in self._found.values() if one.kind in wanted)
