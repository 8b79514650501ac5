"""Variables that no name tells apart: which of one program is which of the other.

A kernel without KALLSYMS_ALL has no names of data, and the compiler numbers what is static in a
function. Such variables are renamed one to one: each is the one that stands for it in most places.
Where a place has another one, that is a difference. So code that takes another variable than before
is told, and a variable that has only moved is not.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from relokit.diffing.kernels.whole_places import NAME_MASK, NAME_SHIFT, TAG_SHIFT, Reference
from relokit.diffing.kernels.whole_text import KernelText, Numbers
from relokit.diffing.read.references import Flags, Ints
from relokit.diffing.read.routine import generic

_SHIFT = 32
_ALONE = np.array([1, 2]) << 50
"""By side, what is added to the number of one without a counterpart: never equal to another's."""


def call_alike(left: KernelText, right: KernelText, pairs: Ints, numbers: Numbers) -> None:
    """Have functions that are paired under two names be called alike, wherever ``right`` says so.

    What the compiler appends to the name of a copy is a number of that build.
    """
    ours = frozenset(left.names)
    counts = Counter(right.names)
    names = {
        other: one
        for one, other in ((left.names[i], right.names[j]) for i, j in pairs.tolist())
        if one != other and other not in ours and counts[other] == 1
        if generic(one) == generic(other)
    }
    if not names:
        return
    old, new = numbers.of([*names]), numbers.of([*names.values()])
    order = np.argsort(old)
    old, new = old[order], new[order]
    at = np.flatnonzero(right.places >> TAG_SHIFT == Reference.FUNCTION)
    places = right.places[at]
    places += _under(places & NAME_MASK, old, new, NAME_SHIFT) - (places & NAME_MASK)
    right.places[at] = places
    right.program.numbers[:] = _under(right.program.numbers, old, new, 0)


def _under(values: Ints, old: Ints, new: Ints, shift: int) -> Ints:
    """``values``, whose bits from ``shift`` on are a number: of ``old``, as that of ``new``."""
    found = values >> shift
    row = np.minimum(np.searchsorted(old, found), len(old) - 1)
    known = old[row] == found
    result = values.copy()
    result[known] += new[row[known]] - found[known] << shift
    return result


class Variables:
    """The variables of ``left`` and ``right``, as far as it is settled which is which.

    Places of both (Reference.VARIABLE) are written anew, so that equal ones are of one variable.
    """

    def __init__(self, left: KernelText, right: KernelText) -> None:
        self._texts = left, right
        self._kinds = [text.places[text.variables] for text in self._texts]
        # Every variable has a number, by its place.
        self._numbers = [
            np.unique(text.variable_offsets, return_inverse=True)[1] for text in self._texts
        ]
        self._partners: dict[int, int] = {}

    def settle(self, ours: Ints, theirs: Ints) -> None:
        """Have words of the left, and those of the right beside them, vote: most votes first, then
        the lowest offsets. What is settled stays.
        """
        left, right = self._texts
        which = self._is_one(left, ours) & self._is_one(right, theirs)
        at = np.searchsorted(left.variables, ours[which])
        to = np.searchsorted(right.variables, theirs[which])
        alike = self._kinds[0][at] == self._kinds[1][to]
        one, other = self._numbers[0][at[alike]], self._numbers[1][to[alike]]
        pairs, counts = np.unique(one << _SHIFT | other, return_counts=True)
        taken = set(self._partners.values())
        for pair in pairs[np.lexsort((pairs, -counts))].tolist():
            number, partner = pair >> _SHIFT, pair & (1 << _SHIFT) - 1
            if number not in self._partners and partner not in taken:
                self._partners[number] = partner
                taken.add(partner)
        self._tell()

    def _is_one(self, text: KernelText, words: Ints) -> Flags:
        found: Flags = text.places[words] >> TAG_SHIFT == Reference.VARIABLE
        return found

    def _tell(self) -> None:
        """Write both sides' places: the left's number, where there is a counterpart."""
        pairs = np.array(sorted(self._partners.items()), np.int64).reshape(-1, 2)
        for side, text in enumerate(self._texts):
            numbers = self._numbers[side]
            values = np.arange(len(numbers)) + _ALONE[side]
            values[pairs[:, side]] = pairs[:, 0]
            text.places[text.variables] = values[numbers] | int(Reference.VARIABLE) << TAG_SHIFT
