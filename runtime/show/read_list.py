"""Machine to ListShown: the list, as the code that moves reads it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relokit.codegen.base.errors import MachineError
from relokit.runtime.guest.memory import WORD, Words
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import (
    ARCH_FIELDS,
    IND_DESTINATION,
    IND_DONE,
    IND_INDIRECTION,
    IND_SOURCE,
    WORD_FIELDS,
    read_field,
)
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.show.at_moment import cpu_at
from relokit.runtime.show.read_resumed import list_of_resume
from relokit.runtime.show.shown.list_shown import ListEntry, ListShown
from relokit.runtime.show.shown.question import Question

FLAGS = {
    IND_DESTINATION: "destination",
    IND_INDIRECTION: "indirection",
    IND_DONE: "done",
    IND_SOURCE: "source",
}
USUAL = 256
"""Entries that are shown where nobody says how many."""
MOST = 1 << 16
"""Entries that are shown at most."""


def list_shown(machine: Machine | Resume, question: Question, job: Job) -> ListShown:
    """The entries that ``question`` asks for; raises MachineError for more than MOST."""
    first = question.first
    last = first + USUAL - 1 if question.last is None else question.last
    if not 0 <= last - first < MOST:
        raise MachineError(
            f"entries {first:,} to {last:,} of the list", hint=f"give 1 to {MOST:,} of them"
        )
    cpu_at(machine, question.moment, job)
    if isinstance(machine, Resume):
        return list_of_resume(machine, question, last)
    kimage = machine.kimage
    reader = _Reader(machine, first, last)
    rows = tuple(reader.rows())
    return ListShown(
        of=machine.target.name,
        moment=str(question.moment),
        page_size=machine.target.page_size,
        kimage=kimage.pa,
        fields={
            name: read_field(machine.memory, kimage, name)
            for name in WORD_FIELDS
            if kimage.layout.arch is not None or name not in ARCH_FIELDS
        },
        entries=reader.entries,
        list_pages=reader.pages,
        first=first,
        rows=rows,
        problem=reader.problem,
    )


class _Reader:
    """Follows the list page by page; what a page has of entries that nobody asks for is counted."""

    def __init__(self, machine: Machine, first: int, last: int) -> None:
        self._machine, self._first, self._last = machine, first, last
        self._page_size = machine.target.page_size
        self._to: int | None = None
        self.entries, self.pages = 0, 0
        self.problem: str | None = None

    def rows(self) -> Iterator[ListEntry]:
        """The entries from ``first`` to ``last``, once; then the rest is known, too."""
        kimage = self._machine.kimage
        at = kimage.pa + kimage.layout.head
        words = self._machine.memory.u64(at, 1)
        seen: set[int] = set()
        while True:
            used = self._used(words)
            if self.entries <= self._last and self.entries + used > self._first:
                yield from self._some(at, words[:used])
            else:
                self._skip(words[:used])
            self.entries += used
            end = int(words[used - 1])
            page = end & -self._page_size
            kind = self._kind(end)
            if kind == "bad":
                self.problem = f"the entry at PA {at + (used - 1) * WORD:#x} ({end:#x}) is none"
            elif kind in ("source", "destination"):
                self.problem = f"it runs off its page at PA {at + used * WORD:#x}"
            elif kind == "indirection" and page in seen:
                self.problem = f"it loops: back to PA {page:#x}"
            elif kind == "indirection" and not self._machine.memory.contains(page, self._page_size):
                self.problem = f"it leads to PA {page:#x}, which is not RAM"
            if self.problem or kind == "done":
                return
            seen.add(page)
            self.pages += 1
            at, words = page, self._machine.memory.u64(page, self._page_size // WORD)

    def _kind(self, word: int) -> str:
        return FLAGS.get(word & (self._page_size - 1), "bad")

    def _used(self, words: Words) -> int:
        """Up to the first word that is neither a source nor a destination, with it."""
        flags = words & np.uint64(self._page_size - 1)
        ends = (flags != IND_SOURCE) & (flags != IND_DESTINATION)
        return int(ends.argmax()) + 1 if ends.any() else len(words)

    def _some(self, at: int, words: Words) -> Iterator[ListEntry]:
        allocator = self._machine.allocator
        for index, word in enumerate(words.tolist()):
            kind, address = self._kind(word), word & -self._page_size
            number, to = self.entries + index, None
            if kind == "destination":
                self._to = address
            elif kind == "source" and self._to is not None:
                to, self._to = self._to, self._to + self._page_size
            if self._first <= number <= self._last:
                region = None if kind in ("done", "bad") else allocator.owner(address)
                owner = str(region.owner) if region else None
                yield ListEntry(number, at + index * WORD, word, kind, address, to, owner)

    def _skip(self, words: Words) -> None:
        flags = words & np.uint64(self._page_size - 1)
        starts = np.flatnonzero(flags == IND_DESTINATION)
        after = words
        if len(starts):
            self._to = int(words[starts[-1]]) & -self._page_size
            after = words[starts[-1] :]
        if self._to is not None:
            sources = int((after & np.uint64(self._page_size - 1) == IND_SOURCE).sum())
            self._to += sources * self._page_size
