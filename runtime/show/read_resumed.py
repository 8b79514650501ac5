"""A resume to what is shown of its list: pages, where they lie and where they belong."""

from __future__ import annotations

import numpy as np

from relokit.codegen.base.errors import MachineError
from relokit.runtime.guest.memory import WORD, Words
from relokit.runtime.kexec.hibernate import ENTRY_SIZE, ENTRY_WORDS, Resume
from relokit.runtime.show.shown.list_shown import ListEntry, ListShown
from relokit.runtime.show.shown.question import Question

KIND = "page"
"""What an entry is: it has no flags."""


def list_of_resume(resume: Resume, question: Question, last: int) -> ListShown:
    """Entries ``question.first`` to ``last``, at the moment that RAM is of."""
    places, rows, problem = _followed(resume)
    offset, first = resume.old.linear_offset, question.first
    told = []
    for number in range(first, min(last + 1, len(places))):
        source, to, _ = (int(word) for word in rows[number])
        region = resume.allocator.owner(source - offset)
        told.append(
            ListEntry(
                number,
                int(places[number]),
                source,
                KIND,
                source - offset,
                to - offset,
                str(region.owner) if region else None,
            )
        )
    pages = {int(at) // resume.target.page_size for at in places}
    return ListShown(
        of=resume.target.name,
        moment=str(question.moment),
        page_size=resume.target.page_size,
        kimage=None,
        fields={},
        entries=len(places),
        list_pages=len(pages),
        first=first,
        rows=tuple(told),
        problem=problem,
    )


def pairs_of_resume(resume: Resume) -> tuple[Words, Words]:
    """PAs of where pages belong and of where they lie, in the list's order.

    Raises MachineError for a list that cannot be followed.
    """
    _, rows, problem = _followed(resume)
    if problem:
        raise MachineError(problem)
    offset = np.uint64(resume.old.linear_offset)
    return rows[:, 1] - offset, rows[:, 0] - offset


def _followed(resume: Resume) -> tuple[Words, Words, str | None]:
    """PAs of the entries that were written, what they hold, and where one leads elsewhere."""
    memory = resume.memory
    pieces = [memory.u64(begin, (end - begin) // WORD) for begin, end in resume.listed]
    places = [np.arange(begin, end, ENTRY_SIZE, dtype=np.uint64) for begin, end in resume.listed]
    empty = np.empty(0, np.uint64)
    at = np.concatenate([empty, *places])
    rows = np.concatenate([empty, *pieces]).reshape(-1, ENTRY_WORDS)
    expected = np.append(at[1:] + np.uint64(resume.old.linear_offset), np.uint64(0))
    wrong = np.flatnonzero(rows[:, 2] != expected[: len(rows)])
    if not len(wrong):
        return at, rows, None
    number = int(wrong[0])
    problem = f"entry {number:,} at PA {int(at[number]):#x} leads to VA {int(rows[number, 2]):#x}"
    return at[: number + 1], rows[: number + 1], problem
