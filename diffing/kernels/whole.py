"""Two kernels as a whole: which functions are the same, which changed, and about what.

A function is `same` if both sides have as many words, without the nops and zeros at the end, and
each pair of words is equal, register by register and field by field, except that

- a reference to a place (B, BL, B.cond, CBZ, TBZ, ADR, ADRP, LDR literal, and the ADD, load or
  store with the low 12 bits of an ADRP) is compared by the symbol at or next below that place
  and the distance from there; without a symbol near, by the distance from the function's start;
- a reference within the function is compared by the distance from one word to the other.

These are the rules of diffing/routines/compare.py with registers and encodings kept, so what is
the same here is the same there. In the others, words are matched by a longest common subsequence.
For that, all references within a function are alike, and all references to data, which is anything
outside functions: shipped kernels have no names for most of it. System instructions are alike
whatever general register they have. A matched instruction that differs after all has another
*operand*; what is not matched is *inserted* or *deleted*. No register is renamed, so an
instruction that got another register or another constant is one of each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from relokit.codegen.base.coercion import choices
from relokit.codegen.base.documents import ALL, Table, shown
from relokit.codegen.base.host_file import reading
from relokit.codegen.base.nouns import dataclass
from relokit.diffing.instructions.ignorable import Ignorable
from relokit.diffing.kernels.whole_changes import (
    FunctionChange,
    FunctionChanges,
    FunctionCount,
    FunctionStatus,
)
from relokit.diffing.progress import READING, Progress, untold
from relokit.diffing.read.routine import DiffError
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.model import DiffVerdict, verdict_of

if TYPE_CHECKING:
    from relokit.diffing.kernels.whole_ignored import IgnoredWords
    from relokit.diffing.kernels.whole_listing import MatchedKernels
    from relokit.diffing.kernels.whole_match import Match
    from relokit.diffing.kernels.whole_pairs import FunctionPairing
    from relokit.diffing.kernels.whole_text import KernelText
    from relokit.diffing.read.references import Flags, Ints


@dataclass(frozen=True, slots=True)
class KindTotal:
    """What differs of one kind, in how many ``functions``."""

    DOCUMENT: ClassVar[Table] = {ALL: "count", "functions": "functions"}

    count: FunctionCount
    functions: int


@dataclass(frozen=True, slots=True)
class ReportedFunction:
    """A function that differs, with what was asked for: in all, and by kind."""

    DOCUMENT: ClassVar[Table] = {
        "name": "function.name",
        "status": "function.status",
        "left_bytes": "function.left_bytes",
        "right_bytes": "function.right_bytes",
        ALL: "count",
        "aligned": "function.aligned",
        "kinds": "kinds",
    }

    function: FunctionChange
    count: FunctionCount
    kinds: Mapping[ChangeKind, FunctionCount]


@dataclass(frozen=True)
class WholeDiff:
    """What a comparison of two kernels found; ``kinds`` are what it was asked for.

    ``functions`` are all that differ, in no order; ``unchanged`` are the names of the others.
    ``skipped`` are names, of either side, of code that is too large for a function. ``data`` is how
    many instructions of the left take constant data, which was compared with it;
    ``data_not_compared`` how many take other data, of which only the place was.
    ``tables_not_compared`` are the sections of data, of either side, that no code there takes
    anything of: others read them, and they were not compared. ``differences_ignored`` counts what
    was asked to be ignored, by what it is; ``same_apart`` are the names of functions that are the
    same but for that. ``accepted`` says how many functions a project accepts, and why.
    """

    SCHEMA: ClassVar[str] = "relokit.whole-diff/1"
    DOCUMENT: ClassVar[Table] = {
        **shown("same", "verdict", "changed", "left", "right", "totals"),
        "kinds": "kind_totals",
        **shown("skipped", "data", "data_not_compared", "tables_not_compared"),
        **shown("differences_ignored", "same_apart", "accepted"),
        "functions": "reported",
    }

    left: str
    right: str
    functions: Sequence[FunctionChange] = field(repr=False)
    unchanged: tuple[str, ...] = field(repr=False)
    skipped: tuple[str, ...] = ()
    kinds: frozenset[ChangeKind] = frozenset(ChangeKind)
    data: int = 0
    data_not_compared: int = 0
    tables_not_compared: tuple[str, ...] = ()
    differences_ignored: Mapping[Ignorable, int] = field(default_factory=dict)
    same_apart: tuple[str, ...] = field(default=(), repr=False)
    accepted: str | None = None

    @cached_property
    def _table(self) -> FunctionChanges:
        if isinstance(self.functions, FunctionChanges):
            return self.functions
        return FunctionChanges.of(self.functions)

    def differing(self, status: FunctionStatus | None = None) -> FunctionChanges:
        """Functions with a difference of ``kinds``, the most inserted and deleted first; all, or
        those of one ``status``.
        """
        return self._table.chosen(self.rows(status))

    def rows(self, status: FunctionStatus | None = None) -> Ints:
        """The rows of ``functions`` that these are."""
        chosen = self._table.having(self.kinds)
        if status is not None:
            chosen = chosen & self._table.with_status(status)
        order = self._table.most_first(self.kinds)
        return order[chosen[order]]

    @property
    def changed(self) -> int:
        """How many functions have a difference of ``kinds``."""
        return int(self._table.having(self.kinds).sum())

    @property
    def same(self) -> bool:
        """Whether nothing differs that was asked for."""
        return not self.changed

    @property
    def verdict(self) -> DiffVerdict:
        """In words."""
        return verdict_of(same=self.same, ignored=sum(self.differences_ignored.values()))

    def functions_by_status(self) -> dict[FunctionStatus, int]:
        """How many functions there are of each status, by the kinds that were asked for."""
        differing = self._table.having(self.kinds)
        numbers = {
            status: int((differing & self._table.with_status(status)).sum())
            for status in FunctionStatus
        }
        numbers[FunctionStatus.SAME] = len(self.unchanged) + int((~differing).sum())
        return numbers

    @property
    def only_operands(self) -> int:
        """How many functions have as many instructions as before, alike but for operands."""
        return int(self._table.without_insertions(self.kinds).sum())

    def kind_counts(self) -> dict[ChangeKind, tuple[FunctionCount, int]]:
        """By kind that was asked for and differs: what differs in all, in how many functions."""
        return self._table.by_kind(self.kinds)

    @property
    def totals(self) -> dict[str, int]:
        """By status, and ``only operands``: how many functions."""
        numbers = {str(status): number for status, number in self.functions_by_status().items()}
        return numbers | {"only operands": self.only_operands}

    @property
    def kind_totals(self) -> dict[ChangeKind, KindTotal]:
        """What differs of each kind, with the number of functions."""
        return {kind: KindTotal(*found) for kind, found in self.kind_counts().items()}

    @property
    def reported(self) -> tuple[ReportedFunction, ...]:
        """Each function that differs, with what differs of the kinds that were asked for."""
        return tuple(
            ReportedFunction(
                one,
                one.count(self.kinds),
                {kind: count for kind, count in one.kinds.items() if kind in self.kinds},
            )
            for one in self.differing()
        )


def compare_kernels(
    left: str | Path,
    right: str | Path,
    *,
    kinds: Iterable[ChangeKind] = ChangeKind,
    ignore: Iterable[Ignorable] = (),
    progress: Progress = untold,
) -> WholeDiff:
    """Compare all functions of two kernels; ``kinds`` are the differences that count, ``ignore``
    what of these is found and does not.

    ``progress`` takes a stage's name, what is done and the total. Raises DiffError where one side
    is no kernel or has too much code, FormatError where it is a damaged one.
    """
    return match_kernels(left, right, kinds=kinds, ignore=ignore, progress=progress)[0]


@reading()
def match_kernels(
    left: str | Path,
    right: str | Path,
    *,
    kinds: Iterable[ChangeKind] = ChangeKind,
    ignore: Iterable[Ignorable] = (),
    progress: Progress = untold,
) -> tuple[WholeDiff, MatchedKernels]:
    """As ``compare_kernels``, with what lists the differences: some hundreds of megabytes."""
    import numpy as np

    from relokit.diffing.kernels.whole_ignored import blurred, ignored_words
    from relokit.diffing.kernels.whole_listing import MatchedKernels
    from relokit.diffing.kernels.whole_match import match_words
    from relokit.diffing.kernels.whole_pairs import pair_functions
    from relokit.diffing.kernels.whole_text import Numbers, read_text
    from relokit.diffing.kernels.whole_variables import call_alike
    from relokit.linker.foreign.packed import UnpackedFiles

    wanted = frozenset(choices(ChangeKind, kinds, "kind of difference"))
    left_out = choices(Ignorable, ignore, "kind of difference to ignore")
    paths = str(left), str(right)
    numbers, files = Numbers(), UnpackedFiles()
    texts: list[KernelText] = []
    for path in paths:
        progress(READING, len(texts), len(paths))
        _refuse_others(path)
        texts.append(read_text(path, numbers, files))
    progress(READING, len(texts), len(paths))
    one, other = texts
    pairing = pair_functions(one, other)
    pairs = np.array(pairing.pairs, np.int64).reshape(-1, 2)
    call_alike(one, other, pairs, numbers)
    if Ignorable.OFFSETS in left_out:
        match = match_words(blurred(one), blurred(other), pairs, progress)
    else:
        match = match_words(one, other, pairs, progress)
    ignored = ignored_words(one, other, pairs, match, left_out, wanted)
    functions = _functions(one, other, pairing, pairs[~match.same], match, ignored)
    alone = [(number, -1) for number in pairing.only_left]
    alone += [(-1, number) for number in pairing.only_right]
    matched = MatchedKernels(
        one,
        other,
        match,
        ignored,
        np.concatenate([pairs[~match.same], np.array(alone, np.int64).reshape(-1, 2)]),
        numbers.names(),
    )
    apart = _same_apart(ignored.functions, pairs[~match.same, 0], functions.having(wanted))
    found = WholeDiff(
        left=one.path,
        right=other.path,
        functions=functions,
        unchanged=tuple(one.names[number] for number in pairs[match.same, 0].tolist()),
        skipped=tuple(dict.fromkeys(one.skipped + other.skipped)),
        kinds=wanted,
        data=int((one.targets >= 0).sum()),
        data_not_compared=one.others,
        tables_not_compared=tuple(sorted({*one.tables, *other.tables})),
        differences_ignored=ignored.counts,
        same_apart=tuple(one.names[row] for row in apart.tolist()),
    )
    return found, matched


def _refuse_others(text: str) -> None:
    """Raise DiffError for what can be compared, but not as a whole."""
    hint = "give two kernels, ELF files or modules; leave --all out to compare anything else"
    if text.startswith("series:") or text.endswith((".S", ".s")):
        raise DiffError("only kernels are compared as a whole", where=text, hint=hint)
    path, colon, symbol = text.rpartition(":")
    if colon and not os.path.exists(text) and os.path.exists(path):
        raise DiffError(
            f"{symbol!r} is one routine, and all are compared",
            where=text,
            hint=f"give {path}, or leave --all out",
        )


def _same_apart(ignored: Ints, changed: Ints, differing: Flags) -> Ints:
    """The functions with something that is ignored and no other difference; ``changed`` are in the
    order of the first that may be ``differing``.
    """
    import numpy as np

    found: Ints = np.setdiff1d(ignored, changed[differing[: len(changed)]])
    return found


def _functions(
    left: KernelText,
    right: KernelText,
    pairing: FunctionPairing,
    changed: Ints,
    match: Match,
    ignored: IgnoredWords,
) -> FunctionChanges:
    """Everything that differs: the ``changed`` pairs, and functions of one side."""
    import numpy as np

    from relokit.diffing.kernels.whole_tally import tally

    units = len(changed) + len(pairing.only_left) + len(pairing.only_right)
    left_functions = np.concatenate([changed[:, 0], np.array(pairing.only_left, np.int64)])
    right_functions = np.concatenate([changed[:, 1], np.array(pairing.only_right, np.int64)])
    left_units = np.full(len(left.names), -1)
    left_units[left_functions] = np.arange(len(left_functions))
    right_units = np.full(len(right.names), -1)
    right_units[right_functions] = np.arange(len(right_functions))
    right_units[pairing.only_right] += len(pairing.only_left)
    has = match.partner >= 0
    taken = np.zeros(len(right.words), np.bool_)
    taken[match.partner[has]] = True
    counts = np.stack(
        [
            tally(right, ~taken & ~ignored.right, right_units, units),
            tally(left, ~has & ~ignored.left, left_units, units),
            tally(left, match.altered, left_units, units, match.data),
        ],
        axis=-1,
    )
    no_right, no_left = [None] * len(pairing.only_left), [None] * len(pairing.only_right)
    ours: list[str | None] = [left.names[one] for one in left_functions.tolist()]
    theirs: list[str | None] = [right.names[one] for one in right_functions.tolist()]
    sizes = np.zeros((2, units), np.int64)
    for row, (text, numbers) in enumerate(((left, left_units), (right, right_units))):
        sizes[row, numbers[numbers >= 0]] = 4 * text.lengths[numbers >= 0]
    aligned = np.ones(units, np.bool_)
    aligned[: len(changed)] = ~match.unaligned[~match.same]
    return FunctionChanges(
        ([*ours, *no_left], [*theirs[: len(changed)], *no_right, *theirs[len(changed) :]]),
        (sizes[0], sizes[1]),
        counts,
        aligned,
    )
