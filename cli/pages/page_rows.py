"""Rows of a page: the alignment of one routine in blocks, shown, folded or left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import groupby

from relokit.codegen.base.nouns import dataclass
from relokit.diffing.instructions.decode import Instruction
from relokit.diffing.read.routine import Routine
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.model import Action, Change, DiffRow, RoutineDiff
from relokit.diffing.routines.report import CONTEXT
from relokit.reporting.page_text import name_shown, shown

FOLD_LEAST = 4
"""Equal rows beyond the context that are worth a fold."""
ALIKE_LEAST = 8
"""Rows that say the same, one after the other, of which all but the first are folded."""
MAX_ROWS = 40_000
"""Rows of code on one page: about 12 MB, and what a browser opens in a few seconds."""
MAX_WORDS = 80
"""Words of an instruction that are compared one by one; past it, all of it is marked."""
MAX_FILE = 28
"""Characters of a file's path that are shown in a row."""

CLASSES = {
    Action.OPERAND: "op",
    Action.RENAMED: "ren",
    Action.MOVED: "mov",
    Action.INSERTED: "ins",
    Action.DELETED: "del",
}
_WORDS = re.compile(r"\w+|\s+|.", re.DOTALL)

Parts = tuple[tuple[bool, str], ...]
"""Text in pieces, and whether the other side has another one there."""


@dataclass(frozen=True, slots=True)
class PageCell:
    """One side of a row. ``path`` is the source's whole name where ``where`` has it shortened,
    ``note`` what there is to say of the instruction.
    """

    offset: str
    word: str
    parts: Parts
    where: str
    path: str
    source: str
    note: str


@dataclass(frozen=True, slots=True)
class PageLine:
    """A row. ``id`` is of a changed one; ``to`` is the other end of a move: its id, its offset.

    ``verb`` is empty where the sides say the same; ``counts`` is false where they do not and it is
    not to count, ``why`` that is. ``note`` is what there is to say of the change.
    """

    left: PageCell | None
    right: PageCell | None
    id: str = ""
    css: str = ""
    verb: str = ""
    kind: str = ""
    counts: bool = False
    why: str = ""
    note: str = ""
    to: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Rows one after the other. With a ``label`` they are behind a fold that says it.

    ``left_out`` counts rows that are not on the page.
    """

    lines: tuple[PageLine, ...] = ()
    label: str = ""
    left_out: int = 0
    changed: bool = False


@dataclass(slots=True)
class RowBudget:
    """Rows that the page may still have: first for changes, then for what is equal."""

    needed: int
    spare: int

    @classmethod
    def of(cls, plans: Sequence[RowPlan], rows: int = MAX_ROWS) -> RowBudget:
        """What there is to give to ``plans``."""
        needed = min(rows, sum(last - first for plan in plans for first, last in plan.needed()))
        return cls(needed, rows - needed)

    def take(self, count: int, *, needed: bool) -> int:
        """How many of ``count`` rows may be shown."""
        if needed:
            granted = min(count, self.needed)
            self.needed -= granted
            return granted
        # All of an equal run or nothing: half of one helps nobody.
        granted = count if count <= self.spare else 0
        self.spare -= granted
        return granted


class RowPlan:
    """Which rows of a routine belong together: equal runs, changes, repetitions."""

    def __init__(self, routine: RoutineDiff, kinds: frozenset[ChangeKind]) -> None:
        self.routine = routine
        self.kinds = kinds
        self.spans: tuple[tuple[int, int, bool], ...] = tuple(self._spans())
        """From row, up to row, whether it is an equal run to fold."""

    @property
    def changed(self) -> bool:
        """Whether a row counts."""
        return any(map(self.counts, self.routine.rows))

    def needed(self) -> Iterator[tuple[int, int]]:
        """The ranges of rows that are not folded."""
        return ((first, last) for first, last, folded in self.spans if not folded)

    def counts(self, row: DiffRow) -> bool:
        """Whether ``row`` differs in what the diff was asked for."""
        return row.change is not None and row.change.counts(self.kinds)

    def _spans(self) -> Iterator[tuple[int, int, bool]]:
        rows, start = self.routine.rows, 0
        shown_from = 0
        for same, group in groupby(rows, key=lambda row: not self.counts(row)):
            end = start + sum(1 for _ in group)
            if same:
                first = start + CONTEXT if start else 0
                last = end - CONTEXT if end < len(rows) else end
                if last - first >= FOLD_LEAST:
                    if first > shown_from:
                        yield shown_from, first, False
                    yield first, last, True
                    shown_from = last
            start = end
        if shown_from < len(rows):
            yield shown_from, len(rows), False


def blocks(plan: RowPlan, id_: str, budget: RowBudget) -> Iterator[Block]:
    """What to show of ``plan``; ``id_`` is the routine's."""
    rows, maker = plan.routine.rows, _Lines(plan, id_)
    for first, last, folded in plan.spans:
        granted = budget.take(last - first, needed=not folded)
        end = first + granted
        if folded and granted and plan.changed:
            yield Block(maker.lines(first, end), f"{last - first} equal instructions")
        else:
            yield from _repetitions(maker.lines(first, end))
        if end < last:
            changed = any(plan.counts(row) for row in rows[end:last])
            yield Block(left_out=last - end, changed=changed)


def _repetitions(lines: tuple[PageLine, ...]) -> Iterator[Block]:
    """``lines`` in blocks, those that only repeat the one before them folded."""
    open_: list[PageLine] = []
    for _, group in groupby(lines, key=_likeness):
        alike = list(group)
        open_.append(alike[0])
        if len(alike) < ALIKE_LEAST:
            open_ += alike[1:]
            continue
        yield Block(tuple(open_))
        open_ = []
        one = alike[0].left or alike[0].right
        text = "".join(part for _, part in one.parts) if one else ""
        yield Block(tuple(alike[1:]), f"{len(alike) - 1} more of the same: {text}")
    if open_:
        yield Block(tuple(open_))


def _likeness(line: PageLine) -> object:
    return (
        line.css,
        *(side and (side.parts, side.note) for side in (line.left, line.right)),
        line.to,
    )


class _Lines:
    """Makes the lines of one routine."""

    def __init__(self, plan: RowPlan, id_: str) -> None:
        self._plan, self._id = plan, id_
        self._routine = plan.routine

    def lines(self, first: int, last: int) -> tuple[PageLine, ...]:
        return tuple(self._line(row) for row in self._routine.rows[first:last])

    def _line(self, row: DiffRow) -> PageLine:
        left_parts, right_parts = _parts(row)
        left = _cell(row.left, self._routine.left, left_parts)
        right = _cell(row.right, self._routine.right, right_parts)
        change = row.change
        if change is None:
            return PageLine(left, right)
        counts = self._plan.counts(row)
        return PageLine(
            left,
            right,
            id=self._row_id(row.left, row.right),
            css=f"{'c' if counts else 'u'} {CLASSES[change.action]} k-{change.kind}",
            verb=change.action.verb,
            kind=str(change.kind),
            counts=counts,
            why="" if counts else _uncounted(change),
            note=shown(change.note),
            to=self._other_end(row, change),
        )

    def _row_id(self, left: Instruction | None, right: Instruction | None) -> str:
        one, side = (left, "l") if left is not None else (right, "r")
        assert one is not None
        return f"{self._id}+{one.offset:#x}-{side}"

    def _other_end(self, row: DiffRow, change: Change) -> tuple[str, str] | None:
        if change.action is not Action.MOVED or change.left is None or change.right is None:
            return None
        if row.left is not None:
            return self._row_id(None, change.right), f"to {change.right.offset:x}"
        return self._row_id(change.left, None), f"from {change.left.offset:x}"


def _uncounted(change: Change) -> str:
    return "not asked for" if change.ignored is None else f"ignored: {change.ignored}"


def _cell(one: Instruction | None, routine: Routine | None, parts: Parts) -> PageCell | None:
    if one is None or routine is None:
        return None
    line = routine.line(one.offset)
    where, path, source = _origin(line.file, line.line, line.text) if line else ("", "", "")
    return PageCell(
        f"{one.offset:x}", f"{one.word:08x}", parts, where, path, source, shown(one.note)
    )


@lru_cache(maxsize=1 << 12)
def _origin(file: str, line: int, text: str) -> tuple[str, str, str]:
    """File and line as shown, the whole path where that is shortened, the statement."""
    if len(file) <= MAX_FILE:
        return f"{shown(file)}:{line}", "", shown(text)
    base = shown(file.rpartition("/")[2], MAX_FILE)
    return f"…/{base}:{line}", f"{name_shown(file)}:{line}", shown(text)


def _parts(row: DiffRow) -> tuple[Parts, Parts]:
    left = shown(row.left.text) if row.left is not None else ""
    right = shown(row.right.text) if row.right is not None else ""
    if row.left is None or row.right is None or left == right:
        return ((False, left),), ((False, right),)
    return _marked(left, right)


@lru_cache(maxsize=1 << 12)
def _marked(left: str, right: str) -> tuple[Parts, Parts]:
    """Both texts in pieces, the words that differ marked."""
    words: tuple[list[str], list[str]] = _WORDS.findall(left), _WORDS.findall(right)
    if max(map(len, words)) > MAX_WORDS:
        return ((True, left),), ((True, right),)
    parts: tuple[list[tuple[bool, str]], list[tuple[bool, str]]] = ([], [])
    matcher = SequenceMatcher(a=words[0], b=words[1], autojunk=False)
    for tag, low, high, first, last in matcher.get_opcodes():
        for side, (start, end) in enumerate(((low, high), (first, last))):
            if start < end:
                parts[side].append((tag != "equal", "".join(words[side][start:end])))
    return tuple(parts[0]), tuple(parts[1])
