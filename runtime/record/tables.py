"""Translation tables as ranges: what each maps, and the memory that a walk through it reads.

A TLB may hold whatever the tables in a TTBR map, at any time. So a record has all the tables that
a TTBR held, as they were before the CPU's first instruction; those that a resume fills in, as they
are when it is over.
"""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch.translation import TableRange
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.prehistory import Range


@dataclass(frozen=True, slots=True)
class TableKey:
    """Tables and how they are read, as TTBR and TCR say: the first one is at PA ``root``.

    ``wide`` is the 52-bit format of descriptors; ``hierarchical`` says that limits in tables
    count.
    """

    root: int
    upper: bool
    page_size: int
    va_bits: int
    pa_bits: int
    wide: bool
    hierarchical: bool

    @classmethod
    def of(cls, tables: TableRange) -> TableKey:
        """The key of ``tables``."""
        return cls(
            tables.root_table,
            tables.upper,
            tables.granule.page_size,
            tables.va_bits,
            tables.pa_bits,
            tables.output.moved != 0,
            tables.hierarchical,
        )


@dataclass(frozen=True, slots=True)
class Leaves:
    """Entries that follow each other: ``size`` bytes at VA ``va`` lead to PA ``pa`` and on.

    Each is a page or block of ``level``; ``bits`` are the attributes of descriptors that all of
    them have, with the limits of the tables above.
    """

    va: int
    pa: int
    size: int
    level: int
    bits: int

    @property
    def end(self) -> int:
        """The VA behind it."""
        return self.va + self.size


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables of ``key`` are: ranges ascending by VA, memory ascending by PA.

    ``leaves`` are what a TLB may hold: entries that cause no fault. ``pages`` are the tables
    themselves, ``entries`` the descriptors in them that are valid. ``missing`` is the PA of a
    table that is not in RAM, if any is led to. ``filled`` says that they are what the move has
    made of them.
    """

    key: TableKey
    leaves: tuple[Leaves, ...]
    pages: tuple[Range, ...]
    entries: tuple[Range, ...]
    missing: int | None = None
    filled: bool = False

    @property
    def empty(self) -> bool:
        """Whether a walk finds nothing valid."""
        return not self.entries and self.missing is None


@dataclass(frozen=True, slots=True)
class UnknownTables:
    """Tables of ``key`` that nobody can tell the contents of, because of ``why``."""

    key: TableKey
    why: Unknown


@dataclass(frozen=True, slots=True)
class TableFacts:
    """All tables that a trace has had in a TTBR; ``cpu_bits`` are the CPU's widest addresses."""

    cpu_bits: int
    tables: tuple[Tables | UnknownTables, ...]
