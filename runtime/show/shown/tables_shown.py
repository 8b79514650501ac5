"""What the CPU translates by, as a tree or the walk of one address: what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.nouns import dataclass, drawn


@dataclass(frozen=True, slots=True)
class TableLevel:
    """Tables of ``level``, ``count`` of them, ``entries`` descriptors each; the first PAs."""

    level: int
    count: int
    entries: int
    pas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MappedRange:
    """``bytes`` from VA ``va`` on lead to PA ``pa`` and on, by pages or blocks of ``level``.

    ``writable`` and ``executable`` are what the regime's privileged level may do; ``attributes``
    are fields of the descriptors with the limits of the tables above, in words. ``owner`` has the
    first page.
    """

    va: int
    pa: int
    bytes: int
    level: int
    writable: bool
    executable: bool
    attributes: tuple[str, ...]
    owner: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class TablesOfRange:
    """The tables that ``register`` (``TTBR0_EL1``) leads to: root at PA ``root``.

    ``walked`` is false where the regime's MMU is off or TCR forbids the walk (EPD): nothing
    is translated by them then, and nothing more is told. ``format`` is that of descriptors:
    48-bit, or LPA or LPA2 with 52. ``missing`` is the PA of a table that is not in RAM.
    ``problem`` says why they are not told.
    """

    register: str
    value: int
    regime: str
    walked: bool
    root: int
    va_bits: int
    pa_bits: int
    page_size: int
    format: str
    levels: tuple[TableLevel, ...]
    maps: tuple[MappedRange, ...]
    missing: int | None = field(default=None, metadata=ABSENT)
    problem: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class WalkedStep:
    """Entry ``index`` at PA ``entry`` of the table at PA ``table``, of ``level``: a descriptor.

    ``words`` say what that is, a field each; ``owner`` has the table.
    """

    level: int
    table: int
    index: int
    entry: int
    descriptor: int
    words: tuple[str, ...]
    owner: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class WalkShown:
    """How ``va`` translates in ``regime`` by ``register``: to ``pa``, or with a ``fault``.

    ``register`` is null with the MMU off, where a VA is its PA and there are no ``steps``.
    """

    regime: str
    register: str | None
    va: int
    pa: int | None
    fault: str | None
    writable: bool
    executable: bool
    steps: tuple[WalkedStep, ...]
    owner: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class TablesShown:
    """What the machine ``of`` translates by at ``moment``, its CPU at exception level ``el``.

    ``registers`` are those of translation, by name; ``ranges`` the tables, where no address was
    asked for; ``walks`` those of the address in each regime, the current one first.
    """

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.show.tables/1"
    DOCUMENT: ClassVar[Table] = shown("of", "moment", "el", "registers", "ranges", "walks")

    of: str
    moment: str
    el: int
    registers: Mapping[str, int]
    ranges: tuple[TablesOfRange, ...] | None = field(default=None, metadata=ABSENT)
    walks: tuple[WalkShown, ...] | None = field(default=None, metadata=ABSENT)
