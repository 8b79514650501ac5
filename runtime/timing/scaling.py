"""Counts of a large move from those of small ones: all of them are sums over pages and list pages.

What is not exactly so are lines of the list, entries of the tables and their levels, which depend
on where pages lie: they go on as between the smallest and the largest of the moves.
"""

from __future__ import annotations

from fractions import Fraction

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.timing.counts import Count, MoveCounts, Phase, Quantity, in_order

MIB = 1 << 20
SAMPLES = (4 * MIB, 5 * MIB, 8 * MIB)
"""Bytes of the moves that are made: by the second, a list page is told from the pages in it."""
WORD = 8
PLACED = frozenset({Quantity.PAGES, Quantity.TRANSLATIONS})


@dataclass(frozen=True, slots=True)
class Scale:
    """``samples`` are counts of the same move of three sizes, ascending."""

    samples: tuple[MoveCounts, MoveCounts, MoveCounts]

    def at(self, size: int) -> MoveCounts:
        """MoveCounts of a move of ``size`` bytes, and what the samples have beside (a device tree).

        Raises MachineError if the samples are no sums over pages: then nothing is known.
        """
        small, _, large = self.samples
        if small.pages == large.pages:
            # Nothing is moved.
            return small
        pages = -(-size // small.page_size) + small.pages - SAMPLES[0] // small.page_size
        lists = self._list_pages(pages)
        rows = []
        for what in dict.fromkeys(row.what for one in self.samples for row in one.rows):
            phase, quantity, of, bytes_each, memory = what
            numbers = [_number(one, what) for one in self.samples]
            if quantity in PLACED or _is_line_of_list(phase, quantity):
                slope = Fraction(numbers[2] - numbers[0], large.pages - small.pages)
                number = max(0, round(numbers[0] + slope * (pages - small.pages)))
            else:
                number = self._exactly(numbers, pages, lists)
            rows.append(Count(phase, quantity, number, of, bytes_each, memory))
        return MoveCounts(small.target, small.page_size, small.line, pages, lists, in_order(rows))

    def _list_pages(self, pages: int) -> int:
        """Pages of a list of kexec's: words of pages, two destinations and IND_DONE (kimage.py).

        The last word of each list page leads to the next one. Of another list none is told apart.
        """
        words = self.samples[0].page_size // WORD - 1
        if any(-(-(one.pages + 2) // words) != one.list_pages for one in self.samples):
            return self.samples[0].list_pages
        return -(-(pages + 2) // words)

    def _exactly(self, numbers: list[int], pages: int, lists: int) -> int:
        """By what a page adds and what a list page does: whole numbers, or the samples lie."""
        small, middle, large = self.samples
        first = middle.pages - small.pages, middle.list_pages - small.list_pages
        second = large.pages - small.pages, large.list_pages - small.list_pages
        rises = numbers[1] - numbers[0], numbers[2] - numbers[0]
        split = first[0] * second[1] - first[1] * second[0]
        if split:
            page = Fraction(rises[0] * second[1] - rises[1] * first[1], split)
            of_list = Fraction(first[0] * rises[1] - second[0] * rises[0], split)
        else:
            page = Fraction(rises[1], second[0]) if second[0] else Fraction(0)
            of_list = Fraction(0)
        number = numbers[0] + page * (pages - small.pages)
        number += of_list * (lists - small.list_pages)
        whole = page.denominator == of_list.denominator == 1
        if not whole or page * first[0] + of_list * first[1] != rises[0]:
            raise MachineError(
                "what is counted does not grow by the page",
                hint="count a move of this size itself: give a --size of at most 8M, or files",
            )
        return int(number)


def _number(counts: MoveCounts, what: object) -> int:
    return next((row.number for row in counts.rows if row.what == what), 0)


def _is_line_of_list(phase: Phase, quantity: Quantity) -> bool:
    return phase is Phase.LIST_WALK and quantity is Quantity.LINES_LOADED
