"""Which function of one kernel is which of the other: by name, and among namesakes by more."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.diffing.kernels.whole_text import KernelText

# GCC's copies with constant or fewer arguments are the whole function; .part and .cold are not.
_COPY = re.compile(r"(?:\.(?:constprop|isra)\.\d+)+$")


@dataclass(frozen=True, slots=True)
class FunctionPairing:
    """Numbers of functions: those of both kernels in pairs, and those without a counterpart."""

    pairs: list[tuple[int, int]]
    only_left: list[int]
    only_right: list[int]


Key = Callable[[KernelText, int], Hashable]


def pair_functions(left: KernelText, right: KernelText) -> FunctionPairing:
    """Pair functions of one name; static functions may share theirs, then the best fit is taken.

    Namesakes that have equal code go together first, then those that stand behind or before
    functions of equal names, what is left in the order of addresses. Functions that are then alone
    go with one that shares another of their names, or with the only one that is called the same
    but for what a compiler appends where it changed a function's arguments.
    """
    rest = set(range(len(left.names))), set(range(len(right.names)))
    pairs: list[tuple[int, int]] = []

    def take(key: Key, *, unique: bool = False) -> None:
        theirs = _grouped(right, rest[1], key)
        for value, ours in _grouped(left, rest[0], key).items():
            matches = theirs.get(value, ())
            if not matches or (unique and not len(ours) == len(matches) == 1):
                continue
            found = list(zip(ours, matches, strict=False))
            pairs.extend(found)
            rest[0].difference_update(one for one, _ in found)
            rest[1].difference_update(other for _, other in found)

    pairs.extend(_unique(left, right))
    for side, paired in zip(rest, zip(*pairs, strict=True), strict=False):
        side.difference_update(paired)
    take(lambda text, i: (text.names[i], _content(text, i)))
    take(lambda text, i: (text.names[i], text.names[i - 1]))
    take(lambda text, i: (text.names[i], text.names[(i + 1) % len(text.names)]))
    take(lambda text, i: text.names[i])
    pairs.extend(_by_alias(left, right, *rest))
    take(lambda text, i: _COPY.sub("", text.names[i]), unique=True)
    return FunctionPairing(sorted(pairs), sorted(rest[0]), sorted(rest[1]))


def _unique(left: KernelText, right: KernelText) -> list[tuple[int, int]]:
    """Pairs of functions of a name that no other has on either side."""
    sides = []
    for text in (left, right):
        numbers, functions, counts = np.unique(text.numbers, return_index=True, return_counts=True)
        sides.append((numbers[counts == 1], functions[counts == 1]))
    (ours, our_functions), (theirs, their_functions) = sides
    _, one, other = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    return list(zip(our_functions[one].tolist(), their_functions[other].tolist(), strict=True))


def _grouped(text: KernelText, numbers: Iterable[int], key: Key) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number in sorted(numbers):
        groups[key(text, number)].append(number)
    return groups


def _content(text: KernelText, number: int) -> tuple[bytes, bytes]:
    start = int(text.starts[number])
    end = start + int(text.lengths[number])
    return text.words[start:end].tobytes(), text.places[start:end].tobytes()


def _by_alias(
    left: KernelText, right: KernelText, ours: set[int], theirs: set[int]
) -> list[tuple[int, int]]:
    """Pairs of what is left by any name in common, taken out of the two sets."""
    having = {name: number for number in sorted(theirs) for name in right.names_of(number)}
    found = []
    for number in sorted(ours):
        matches = (having.get(name) for name in left.names_of(number))
        match = next((other for other in matches if other in theirs), None)
        if match is not None:
            found.append((number, match))
            theirs.discard(match)
            ours.discard(number)
    return found
