"""Two sides to a Diff: which routine is which, and what became of its instructions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

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
from relokit.diffing.routines.model import Action, Change, Diff, DiffRow, RoutineDiff
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
    readings = [
        (
            _read(one, left, fields, aspects, offsets=offsets) if one else None,
            _read(other, right, fields, aspects, offsets=offsets) if other else None,
        )
        for one, other in couples
    ]
    pairs = list(_renamed(readings))
    routines = []
    for number, pair in enumerate(pairs):
        progress(COMPARING, number, len(pairs))
        routines.append(_compare(*pair, aspects, budget, ignored_kinds))
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
    def meaning(self) -> tuple[tuple[str, tuple[Register, ...], int], ...]:
        """What it is compared by, in an order of its own."""
        return tuple(
            (key.shape, key.registers, -1 if key.target is None else key.target)
            for key in self.keys
        )

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


Readings = tuple[_Reading | None, _Reading | None]


def _renamed(readings: Sequence[Readings]) -> Iterator[Readings]:
    """``readings``, where a routine that is gone is the same as a new one: as one routine.

    What refers to it by the old name on one side and by the new one on the other is the same.
    """
    new = {
        other.meaning: other
        for one, other in readings
        if one is None and other is not None and len(other.keys) >= LEAST_RENAMED
    }
    same = {
        one.routine.name: found
        for one, other in readings
        if one is not None and other is None and (found := new.pop(one.meaning, None))
    }
    names = {old: found.routine.name for old, found in same.items()}
    taken = set(names.values())
    for one, other in readings:
        if one is None:
            if other is not None and other.routine.name not in taken:
                yield one, other
        else:
            yield one.under(names), other or same.get(one.routine.name)


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
            tuple(_one_sided(left, right)),
        )
    # The same work whichever side is left: so the result is the same, mirrored.
    mirrored = right.meaning < left.meaning
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
    rows = tuple(with_ignored(judge.rows(), ignore))
    return RoutineDiff(left.routine, right.routine, rows, tuple(sorted(renames)))


def _one_sided(left: _Reading | None, right: _Reading | None) -> Iterator[DiffRow]:
    for one in left.code if left else ():
        yield DiffRow(one, None, Change(Action.DELETED, kind_of(one), one, None))
    for one in right.code if right else ():
        yield DiffRow(None, one, Change(Action.INSERTED, kind_of(one), None, one))
