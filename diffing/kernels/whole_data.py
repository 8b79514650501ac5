"""The constant data that the code of two kernels takes: which of it is alike, wherever it lies.

Two pieces are alike if their bytes are, up to where either ends: what begins next is a symbol or
a place that code takes. Bytes that differ may still be alike: two pointers to one place by name
and distance, or to equal strings; two distances to one place (of tables in which each entry is
counted from itself); entries of a jump table, by the place in the function they lead to. Of two
strings, only what is before the zero counts.
"""

from __future__ import annotations

from dataclasses import field
from functools import cached_property

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.diffing.read.data import MAX_DATUM
from relokit.diffing.read.references import Flags, Ints, Words, spans
from relokit.diffing.read.routine import LEAST_STRING, MAX_STRING, STRING_TEXT

DEPTH = 4
"""How many pointers are followed from a piece of data, one after the other."""
LEAST_DISTANCE = 1 << 12
"""What is less is taken for a number, whatever lies there."""
MAX_UNLIKE = 1 << 26
"""Bytes of pieces that are looked into for pointers, together; what is beyond counts as unlike."""
_WORD, _POINTER = 4, 8


@dataclass(frozen=True)
class ProgramData:
    """What a program has besides words: ``content`` is all of it, linked at ``base``; in memory it
    has ``size`` bytes.

    ``bounds`` are ascending offsets at which something begins, ``pointers`` those of addresses in
    it, and what these are of, ``distances`` the same of 32-bit distances that the file tells of;
    of row n of the symbols,
    ``symbols[n]`` is the offset, ``numbers[n]`` its name's number, ``functions[n]`` whether it is
    a function, and ``reach`` how far the name goes. ``constant`` are ascending offsets: constant
    data, or code that is no function's, is from each even one to the next.
    """

    content: bytes = field(repr=False)
    base: int
    size: int
    bounds: Ints = field(repr=False)
    pointers: tuple[Ints, Ints] = field(repr=False)
    distances: tuple[Ints, Ints] = field(repr=False)
    symbols: Ints = field(repr=False)
    numbers: Ints = field(repr=False)
    functions: Flags = field(repr=False)
    reach: int
    constant: Ints = field(repr=False)
    named_data: bool
    """Whether its data has names, as a kernel's only has with KALLSYMS_ALL."""

    @cached_property
    def words(self) -> Words:
        """The content by 32 bits."""
        return np.frombuffer(self.content, "<u4", len(self.content) // _WORD)

    @cached_property
    def pointer_places(self) -> Ints:
        """Ascending offsets of pointers from constant data to constant data."""
        return self._between_constants(*self.pointers)

    @cached_property
    def distance_places(self) -> Ints:
        """Ascending offsets of known distances from constant data to constant data."""
        return self._between_constants(*self.distances)

    def _between_constants(self, places: Ints, targets: Ints) -> Ints:
        found: Ints = places[self.is_constant(places) & self.is_constant(targets)]
        return found

    def distant(self, places: Ints) -> Ints:
        """The offsets that known distances at ``places`` lead to; -1 where there is none."""
        known, targets = self.distances
        if not len(known):
            return np.full(len(places), -1, np.int64)
        row = np.minimum(np.searchsorted(known, places), len(known) - 1)
        return np.where(known[row] == places, targets[row], -1)

    def pointed(self, places: Ints) -> Ints:
        """The offsets that 64 bits at each of ``places``, also offsets, are the addresses of; -1
        where they are none, or do not lie as addresses do.
        """
        lies = (places % _POINTER == 0) & (places + _POINTER <= len(self.content))
        words = np.frombuffer(self.content, "<u8", len(self.content) // _POINTER)
        values = words[np.where(lies, places // _POINTER, 0)]
        offsets = values - np.uint64(self.base & (1 << 64) - 1)
        real = lies & (offsets < np.uint64(self.size)) & (values != 0)
        found: Ints = np.where(real, offsets, 0).astype(np.int64)
        found[~real] = -1
        return found

    def is_constant(self, targets: Ints) -> Flags:
        """Which offsets are in constant data."""
        row = np.searchsorted(self.symbols, targets, "right") - 1
        flags: Flags = np.searchsorted(self.constant, targets, "right") % 2 == 1
        return flags & ~((row >= 0) & self.functions[row])

    def is_nameless(self, targets: Ints) -> Flags:
        """Which offsets are in no function, where nothing but functions has a name."""
        row = np.searchsorted(self.symbols, targets, "right") - 1
        flags: Flags = ~((row >= 0) & self.functions[row])
        return flags & ~self.is_constant(targets)

    def ends(self, targets: Ints) -> Ints:
        """Where what begins at each of ``targets`` ends at the latest."""
        at = np.searchsorted(self.bounds, targets, "right")
        limit = len(self.content)
        found: Ints = np.append(self.bounds, limit)[at]
        return np.minimum(found, limit)

    def names(self, targets: Ints) -> Ints:
        """A number for name and distance of each, the same in both programs; -1 without a name."""
        row = np.searchsorted(self.symbols, targets, "right") - 1
        distance = targets - self.symbols[row]
        named = (row >= 0) & (distance <= self.reach) & (targets >= 0)
        # In constant data a name is that of one place: of most there is none.
        named &= ~self.is_constant(targets) | (distance == 0)
        found: Ints = np.where(named, self.numbers[row] * (self.reach + 1) + distance, -1)
        return found

    def string(self, target: int) -> bytes | None:
        """The text at an offset, with its end, if it is one."""
        end = self.content.find(b"\0", target, target + MAX_STRING)
        text = self.content[target:end] if end >= 0 else b""
        if len(text) < LEAST_STRING or text.translate(None, STRING_TEXT):
            return None
        return text


@dataclass(frozen=True, slots=True)
class Taken:
    """Places that code takes, at offsets ``targets``; it accesses ``accessed`` bytes there, or an
    unknown number (0). The function is ``firsts`` up to ``lasts``; ``jumps`` where it jumps by a
    register.
    """

    targets: Ints
    accessed: Ints
    firsts: Ints
    lasts: Ints
    jumps: Flags

    def chosen(self, which: Ints | Flags) -> Taken:
        """Some of them."""
        return Taken(
            self.targets[which], self.accessed[which], self.firsts[which], self.lasts[which],
            self.jumps[which],
        )  # fmt: skip


def data_alike(left: ProgramData, right: ProgramData, ours: Taken, theirs: Taken) -> Flags:
    """Which of ``ours`` have the same data as those of ``theirs`` beside them."""
    accessed = np.maximum(ours.accessed, theirs.accessed)
    tables = _is_table(left, ours) | _is_table(right, theirs)
    result: Flags = np.zeros(len(ours.targets), np.bool_)
    result[tables] = _tables_alike(left, right, ours.chosen(tables), theirs.chosen(tables))
    rest = np.flatnonzero(~tables)
    if left.content == right.content:
        equal = ours.targets[rest] == theirs.targets[rest]
        result[rest[equal]] = True
        rest = rest[~equal]
    # Each pair once. An offset has 30 bits, and there are six sizes of accesses.
    sizes = np.array([0, 1, 2, 4, 8, 16])
    keys = (ours.targets[rest] << 33) | (theirs.targets[rest] << 3)
    keys |= np.searchsorted(sizes, accessed[rest])
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    pairs = rest[first]
    one, other = ours.targets[pairs], theirs.targets[pairs]
    lengths = np.minimum(left.ends(one) - one, right.ends(other) - other)
    lengths = np.minimum(lengths, np.where(accessed[pairs], accessed[pairs], MAX_DATUM))
    result[rest] = _pieces_alike(left, right, one, other, lengths, DEPTH)[which]
    return result


def _pieces_alike(
    left: ProgramData, right: ProgramData, one: Ints, other: Ints, lengths: Ints, depth: int
) -> Flags:
    """Whether pieces at offsets, each as long on both sides, are alike."""
    alike: Flags = np.zeros(len(one), np.bool_)
    text, other_text = left.content, right.content
    unlike = []
    places = zip(one.tolist(), other.tolist(), lengths.tolist(), strict=True)
    for number, (at, to, length) in enumerate(places):
        if text[at : at + length] == other_text[to : to + length]:
            alike[number] = True
        else:
            string = left.string(at)
            if string is not None and string == right.string(to):
                alike[number] = True
            else:
                unlike.append(number)
    _follow_equal(left, right, one, other, lengths, depth, alike)
    slow = np.array(unlike, np.int64)
    alike[slow] = _unlike_bytes(left, right, one[slow], other[slow], lengths[slow], depth)
    return alike


def _follow_equal(
    left: ProgramData,
    right: ProgramData,
    one: Ints,
    other: Ints,
    lengths: Ints,
    depth: int,
    alike: Flags,
) -> None:
    """Take out of ``alike`` the pieces, of equal bytes, with a pointer to what is not, or with a
    known distance.
    """
    equal = np.flatnonzero(alike)
    if left.content == right.content:
        equal = equal[one[equal] != other[equal]]
    for places, size, read in (
        (left.pointer_places, _POINTER, ProgramData.pointed),
        (left.distance_places, _WORD, ProgramData.distant),
    ):
        first = np.searchsorted(places, one[equal])
        counts = np.searchsorted(places, one[equal] + lengths[equal] - size, "right") - first
        has = counts > 0
        at = places[spans(first[has], counts[has])]
        owner = np.repeat(equal[has], counts[has])
        to = at - one[owner] + other[owner]
        target, other_target = read(left, at), read(right, to)
        real = np.flatnonzero(other_target >= 0)
        same = _places_alike(left, right, target[real], other_target[real], depth - 1)
        alike[owner[real[~same]]] = False


def _is_table(data: ProgramData, taken: Taken) -> Flags:
    """Whether what is taken begins with a distance from there into the function, which jumps."""
    aligned = taken.jumps & (taken.targets % _WORD == 0)
    aligned &= taken.targets + _WORD <= len(data.content)
    result: Flags = np.zeros(len(taken.targets), np.bool_)
    at = np.flatnonzero(aligned)
    target = taken.targets[at] + _signed(data.words[taken.targets[at] // _WORD])
    result[at] = (target >= taken.firsts[at]) & (target < taken.lasts[at]) & (target % _WORD == 0)
    return result


def _tables_alike(left: ProgramData, right: ProgramData, ours: Taken, theirs: Taken) -> Flags:
    """Whether all entries lead to the same places in the functions; the first that does not lead
    into it ends them.
    """
    entries = []
    for data, taken in ((left, ours), (right, theirs)):
        lengths = np.minimum(data.ends(taken.targets) - taken.targets, MAX_DATUM) // _WORD
        found = []
        parts = (taken.targets, lengths, taken.firsts, taken.lasts)
        for start, length, first, last in zip(*(part.tolist() for part in parts), strict=True):
            words = data.words[start // _WORD : start // _WORD + length]
            target = start + _signed(words)
            outside = (target < first) | (target >= last) | (target % _WORD != 0)
            count = int(outside.argmax()) if outside.any() else length
            found.append((target[:count] - first).tobytes())
        entries.append(found)
    return np.array([one == other for one, other in zip(*entries, strict=True)], np.bool_)


def _unlike_bytes(
    left: ProgramData, right: ProgramData, ours: Ints, theirs: Ints, lengths: Ints, depth: int
) -> Flags:
    """Whether pieces whose bytes differ are alike after all, by what they point to."""
    result: Flags = np.zeros(len(ours), np.bool_)
    able = (ours % _WORD == 0) & (theirs % _WORD == 0) & (lengths >= _WORD)
    able &= (lengths % _WORD == 0) & (np.cumsum(np.where(able, lengths, 0)) <= MAX_UNLIKE)
    pieces = np.flatnonzero(able)
    counts = lengths[pieces] // _WORD
    if not len(pieces):
        return result
    at, to = spans(ours[pieces] // _WORD, counts), spans(theirs[pieces] // _WORD, counts)
    owner = np.repeat(pieces, counts)
    differ = np.flatnonzero(left.words[at] != right.words[to])
    at, to, owner = at[differ], to[differ], owner[differ]
    alike = _distances_alike(left, right, at, to, depth) | _pointers_alike(
        left, right, at, to, depth
    )
    result[pieces] = True
    result[owner[~alike]] = False
    return result


def _pointers_alike(left: ProgramData, right: ProgramData, at: Ints, to: Ints, depth: int) -> Flags:
    """Whether words are halves of pointers to the same."""
    result: Flags = np.zeros(len(at), np.bool_)
    chosen = np.flatnonzero(at % 2 == to % 2)
    one = left.pointed(at[chosen] // 2 * _POINTER)
    other = right.pointed(to[chosen] // 2 * _POINTER)
    real = (one >= 0) & (other >= 0)
    chosen, one, other = chosen[real], one[real], other[real]
    result[chosen] = _places_alike(left, right, one, other, depth - 1)
    return result


def _distances_alike(
    left: ProgramData, right: ProgramData, at: Ints, to: Ints, depth: int
) -> Flags:
    """Whether words are distances from themselves to the same: to what is of one name, or a string.

    Known distances may lead to any constant data that is alike.
    """
    one = _WORD * at + _signed(left.words[at])
    other = _WORD * to + _signed(right.words[to])
    inside = (one >= 0) & (one < left.size) & (other >= 0) & (other < right.size)
    names = left.names(one), right.names(other)
    result: Flags = inside & (names[0] == names[1]) & (names[0] >= 0)
    for number in np.flatnonzero(inside & (names[0] < 0) & (names[1] < 0)).tolist():
        string = left.string(int(one[number]))
        result[number] = string is not None and string == right.string(int(other[number]))
    if not (left.named_data and right.named_data):
        far = np.abs(one - _WORD * at) >= LEAST_DISTANCE
        result |= inside & far & left.is_nameless(one) & right.is_nameless(other)
    known, others = left.distant(_WORD * at), right.distant(_WORD * to)
    constant = (known >= 0) & left.is_constant(known) & (others >= 0) & right.is_constant(others)
    chosen = np.flatnonzero(constant)
    result[chosen] = _places_alike(left, right, known[chosen], others[chosen], depth - 1)
    return result


def _places_alike(
    left: ProgramData, right: ProgramData, one: Ints, other: Ints, depth: int
) -> Flags:
    """Whether places that are pointed to have the same name and distance, and the same constant
    data, ``depth`` pointers far; of other data without a name nothing is known.
    """
    names = left.names(one), right.names(other)
    constant = left.is_constant(one) & right.is_constant(other)
    alike: Flags = (names[0] == names[1]) & (constant | (names[0] >= 0))
    if not (left.named_data and right.named_data):
        alike |= left.is_nameless(one) & right.is_nameless(other)
    if not depth:
        return alike
    followed = np.flatnonzero(alike & constant)
    keys = (one[followed] << 31) | other[followed]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    pairs = followed[first]
    at, to = one[pairs], other[pairs]
    lengths = np.minimum(left.ends(at) - at, right.ends(to) - to)
    lengths = np.minimum(lengths, MAX_DATUM)
    alike[followed] = _pieces_alike(left, right, at, to, lengths, depth)[which]
    return alike


def _signed(words: Words) -> Ints:
    return words.view(np.int32).astype(np.int64)
