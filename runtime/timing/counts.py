"""MoveCounts: what a move has done, phase by phase, as plain numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from enum import Enum

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.model.caches.memory_type import MemoryType


class Phase(Enum):
    """A part of what is done; the value is how that is shown."""

    KERNEL_C = "kernel C at the jump"
    LAST_STEPS = "the old kernel's last steps"
    LIST_WALK = "list walk"
    COPY = "copy"
    MAINTENANCE = "maintenance"
    TABLE_SWITCH = "table switch"
    EXIT = "exit"
    PURGATORY = "purgatory"


OF_THE_MOVE = (
    Phase.LIST_WALK, Phase.COPY, Phase.MAINTENANCE, Phase.TABLE_SWITCH, Phase.EXIT,
)  # fmt: skip
"""The phases between the jump and what is entered after the move."""


class Quantity(Enum):
    """What is counted; the value is its key in documents.

    INSTRUCTIONS by class; LOADS and STORES by bytes and memory type; LINES_LOADED and LINES_STORED,
    each cache line once, by memory type; OPERATIONS on caches and TLBs, and barriers, by name;
    PAGES that were translated, and TRANSLATIONS (entries of the tables: pages or blocks) that it
    takes, by level: each once until a TLB is to forget it, in the phase that needs it first.
    """

    INSTRUCTIONS = "instructions"
    LOADS = "loads"
    STORES = "stores"
    LINES_LOADED = "lines loaded"
    LINES_STORED = "lines stored"
    OPERATIONS = "operations"
    PAGES = "pages translated"
    TRANSLATIONS = "translations"


@dataclass(frozen=True, slots=True)
class Count:
    """``number`` of ``quantity`` in ``phase``: of what by name, bytes each, in which memory."""

    phase: Phase
    quantity: Quantity
    number: int
    of: str = field(default="", metadata=ABSENT)
    size: int = field(default=0, metadata=ABSENT)
    memory: MemoryType | None = field(default=None, metadata=ABSENT)

    @property
    def what(self) -> tuple[Phase, Quantity, str, int, MemoryType | None]:
        """All but the number."""
        return self.phase, self.quantity, self.of, self.size, self.memory


@dataclass(frozen=True, slots=True)
class MoveCounts:
    """``rows`` of a move of ``pages`` of ``page_size`` bytes, in the order of phases.

    ``list_pages`` are the pages that its list is in, ``line`` the bytes of a cache line, ``target``
    the name of what was built.
    """

    target: str
    page_size: int
    line: int
    pages: int
    list_pages: int
    rows: tuple[Count, ...]

    def total(
        self,
        *quantities: Quantity,
        phases: Iterable[Phase] = OF_THE_MOVE,
        of: str | None = None,
        memory: MemoryType | None = None,
    ) -> int:
        """The sum of ``quantities`` in ``phases``; ``of`` and ``memory``, if given, alone."""
        wanted = set(phases)
        return sum(
            one.number
            for one in self.rows
            if one.quantity in quantities
            and one.phase in wanted
            and (of is None or one.of == of)
            and (memory is None or one.memory is memory)
        )

    def with_kernel_c(self, number: int) -> MoveCounts:
        """Beside these ``number`` DC instructions that C carries out at the jump.

        It is not executed here: how many that takes is known, each with a line, and no more.
        """
        row = Count(Phase.KERNEL_C, Quantity.OPERATIONS, number, of="dc civac")
        return replace(self, rows=in_order([*self.rows, row]))

    def by_pages(self) -> MoveCounts:
        """Counts of the same move where tables have no blocks: each page has an entry."""
        rows = [row for row in self.rows if row.quantity not in _TRANSLATED]
        for phase in Phase:
            pages = self.total(Quantity.PAGES, phases=(phase,))
            rows += [Count(phase, quantity, pages, of=PAGE_LEVEL) for quantity in _TRANSLATED]
        return replace(self, rows=in_order(rows))


_TRANSLATED = (Quantity.PAGES, Quantity.TRANSLATIONS)
PAGE_LEVEL = "level 3"
"""Pages are what entries of the last level map."""
_PHASES = {phase: number for number, phase in enumerate(Phase)}
_QUANTITIES = {quantity: number for number, quantity in enumerate(Quantity)}


def in_order(rows: Iterable[Count]) -> tuple[Count, ...]:
    """``rows`` by phase, quantity and the rest; none of nothing."""
    return tuple(
        sorted(
            (one for one in rows if one.number),
            key=lambda one: (
                _PHASES[one.phase],
                _QUANTITIES[one.quantity],
                one.of,
                one.size,
                one.memory.value if one.memory else "",
            ),
        )
    )
