"""Two sides to a Diff: which routine is which, and what became of its instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b

from relokit.codegen.base.coercion import choices
from relokit.codegen.base.nouns import dataclass
from relokit.diffing.instructions.decode import Instruction, decode
from relokit.diffing.instructions.ignorable import Ignorable
from relokit.diffing.instructions.normalise import (
    Aspect,
    Key,
    Register,
    keys_of,
    trimmed,
    with_fields,
)
from relokit.diffing.progress import COMPARING, Progress, untold
from relokit.diffing.read.routine import DiffError, Routine, Side
from relokit.diffing.routines.align import CellBudget
from relokit.diffing.routines.classify import ChangeKind, kind_of
from relokit.diffing.routines.data_changes import DataFollower
from relokit.diffing.routines.model import Action, Change, Diff, DiffRow, RoutineDiff, Rows
from relokit.diffing.routines.pairing import Pairer
from relokit.diffing.routines.row_kinds import Judge, with_ignored

MAX_CODE = 1 << 20
"""Bytes of all routines of one side that are compared."""
LEAST_RENAMED = 2
"""Instructions of a routine that is recognised under another name."""


def compare(
    left: Side,
    right: Side,
    *,
    kept: Iterable[Aspect] = (),
    kinds: Iterable[ChangeKind] = ChangeKind,
    ignore: Iterable[Ignorable] = (),
    progress: Progress = untold,
) -> Diff:
    """Compare the routines of both sides: by name, or where each has only one, those two.

    ``kept`` are the aspects that are differences for once, ``kinds`` the differences that count,
    ``ignore`` what of the code of both sides is found and does not count.
    A routine that only one side has is a difference, unless the other side is a part of a program
    and this one is not. Raises DiffError where nothing is in common or it is more than MAX_CODE
    bytes.
    """
    aspects = frozenset(choices(Aspect, kept, "aspect"))
    wanted = frozenset(choices(ChangeKind, kinds, "kind of difference"))
    ignored_kinds = frozenset(choices(Ignorable, ignore, "kind of difference to ignore"))
    offsets = Ignorable.OFFSETS not in ignored_kinds
    budget = CellBudget()
    fields = left.layout is not None and right.layout is not None and Aspect.FIELDS not in aspects
    couples, ignored = _couples(left, right)

    def read(one: Routine | None, side: Side) -> _Reading | None:
        return _read(one, side, fields, aspects, offsets=offsets) if one else None

    renamed = _renamed(couples, partial(read, side=left), partial(read, side=right))
    names = {old: new.name for old, new in renamed.items()}
    pairs = [*_paired(couples, renamed)]
    routines = []
    for number, (one, other) in enumerate(pairs):
        progress(COMPARING, number, len(pairs))
        ours, theirs = read(one, left), read(other, right)
        routines.append(
            _compare(ours and ours.under(names), theirs, aspects, budget, ignored_kinds)
        )
    progress(COMPARING, len(pairs), len(pairs))
    follower = DataFollower(left, right, routines)
    data = [
        _compare(_Reading(*one), _Reading(*other), aspects, budget)
        for one, other in follower.pairs()
    ]
    return Diff(
        left,
        right,
        (*routines, *data),
        ignored,
        wanted,
        tuple(follower.compared),
        tuple(follower.left_out),
        ignored_kinds,
    )


Couple = tuple[Routine | None, Routine | None]


def _couples(left: Side, right: Side) -> tuple[list[Couple], tuple[str, ...]]:
    """The routines to compare, and the names of those that are left out."""
    if len(left.routines) == len(right.routines) == 1:
        (one,), (other,) = left.routines.values(), right.routines.values()
        _bound([(one, other)])
        return [(one, other)], ()
    ignored = []
    couples: list[Couple] = []
    for name, routine in left.routines.items():
        if name in right.routines or left.part or not right.part:
            couples.append((routine, right.routines.get(name)))
        else:
            ignored.append(name)
    for name, routine in right.routines.items():
        if name in left.routines:
            continue
        if right.part or not left.part:
            couples.append((None, routine))
        else:
            ignored.append(name)
    if not any(one and other for one, other in couples):
        raise DiffError(
            f"no routine of {left.name} is in {right.name}",
            hint="name one on each side: FILE:symbol",
        )
    _bound(couples)
    return couples, tuple(ignored)


def _bound(couples: Sequence[Couple]) -> None:
    sizes = [
        sum(len(one.code) for pair in couples if (one := pair[side]) is not None) for side in (0, 1)
    ]
    if max(sizes) > MAX_CODE:
        raise DiffError(
            f"the routines to compare have more than {MAX_CODE} bytes",
            hint="name one of them: FILE:symbol",
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """A routine decoded and normalised."""

    routine: Routine
    code: tuple[Instruction, ...]
    keys: tuple[Key, ...]

    @property
    def meaning(self) -> Iterator[tuple[str, tuple[Register, ...], int]]:
        """What it is compared by, in an order of its own."""
        return (
            (key.shape, key.registers, -1 if key.target is None else key.target)
            for key in self.keys
        )

    @property
    def digest(self) -> bytes:
        """Of its meaning."""
        digest = blake2b(digest_size=32)
        for one in self.meaning:
            digest.update(repr(one).encode("utf-8", "backslashreplace"))
        return digest.digest()

    def is_before(self, other: _Reading) -> bool:
        """Whether its meaning comes before that of ``other``."""
        for one, two in zip(self.meaning, other.meaning, strict=False):
            if one != two:
                return one < two
        return len(self.keys) < len(other.keys)

    def under(self, names: Mapping[str, str]) -> _Reading:
        """The same, where what it refers to is called by ``names`` in keys."""
        if not names:
            return self
        keys = []
        for one, key in zip(self.code, self.keys, strict=True):
            old = one.place.partition("+")[0]
            if one.named and old in names:
                key = replace(key, shape=key.shape.replace(old, names[old]))
            keys.append(key)
        return replace(self, keys=tuple(keys))


def _read(
    routine: Routine, side: Side, fields: bool, kept: frozenset[Aspect], *, offsets: bool
) -> _Reading:
    code = decode(routine, side.names)
    if Aspect.PADDING not in kept:
        code = trimmed(code)
    if fields and routine.kimage_argument and side.layout is not None:
        code = with_fields(code, side.layout)
    return _Reading(routine, code, keys_of(code, kept, offsets=offsets))


Read = Callable[[Routine], _Reading | None]


def _renamed(couples: Sequence[Couple], left: Read, right: Read) -> dict[str, Routine]:
    """By name, the routines that are gone, where a new one is the same: that one.

    What refers to it by the old name on one side and by the new one on the other is the same.
    """
    gone = [one for one, other in couples if one and other is None]
    come = [other for one, other in couples if one is None and other]
    if not (gone and come):
        return {}
    new = {
        read.digest: one
        for one in come
        if (read := right(one)) is not None and len(read.keys) >= LEAST_RENAMED
    }
    return {
        one.name: found
        for one in gone
        if (read := left(one)) is not None and (found := new.pop(read.digest, None))
    }


def _paired(couples: Sequence[Couple], renamed: Mapping[str, Routine]) -> Iterator[Couple]:
    """``couples``, with what is renamed as one."""
    taken = {one.name for one in renamed.values()}
    for one, other in couples:
        if one is not None:
            yield one, other or renamed.get(one.name)
        elif other is not None and other.name not in taken:
            yield None, other


def _compare(
    left: _Reading | None,
    right: _Reading | None,
    kept: frozenset[Aspect],
    budget: CellBudget,
    ignore: frozenset[Ignorable] = frozenset(),
) -> RoutineDiff:
    if left is None or right is None:
        return RoutineDiff(
            left.routine if left else None,
            right.routine if right else None,
            Rows(_one_sided(left, right)),
        )
    # The same work whichever side is left: so the result is the same, mirrored.
    mirrored = right.is_before(left)
    first, second = (right, left) if mirrored else (left, right)
    rename = Aspect.REGISTERS not in kept
    pairer = Pairer(first.code, first.keys, second.keys, budget)
    pairing = pairer.solve(rename=rename)
    own = tuple(key.registers for key in second.keys)
    registers = (pairing.names, own)
    suggested = None if rename else (pairer.names(pairer.suggested(pairing.pairs)), own)
    pairs, renames = pairing.pairs, pairing.renamed
    if mirrored:
        pairs = [(j, i) for i, j in pairs]
        registers = registers[::-1]
        suggested = suggested and suggested[::-1]
        renames = frozenset((new, old) for old, new in renames)
    judge = Judge((left.code, right.code), (left.keys, right.keys), pairs, registers, suggested)
    rows = Rows(with_ignored(judge.rows(), ignore))
    return RoutineDiff(left.routine, right.routine, rows, tuple(sorted(renames)))


def _one_sided(left: _Reading | None, right: _Reading | None) -> Iterator[DiffRow]:
    for one in left.code if left else ():
        yield DiffRow(one, None, Change(Action.DELETED, kind_of(one), one, None))
    for one in right.code if right else ():
        yield DiffRow(None, one, Change(Action.INSERTED, kind_of(one), None, one))
