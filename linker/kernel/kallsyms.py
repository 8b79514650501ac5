"""The symbol table a kernel carries for itself, read out of an uncompressed arm64 Image.

Layout: what scripts/kallsyms.c of each version emits into .rodata. Common to all: names are
runs of token numbers behind a length, ``markers`` holds the offset of every 256th name, a token
table holds 256 strings and a token index their offsets. What differs is the order of the parts,
their alignment (8, from 7.x on 4), and how an address is stored:

| kernels     | order                                                | address of symbol i      |
|-------------|------------------------------------------------------|--------------------------|
| up to 6.1   | offsets base count names markers [seqs] tokens index | base + offset            |
| 6.4 to 6.18 | count names markers tokens index offsets base        | base + offset            |
| 7.x         | count names markers tokens index offsets             | place of offset + offset |

(an option of old kernels stores -1 - offset instead of offset). Nothing says where any of it
is, so the token table is searched for, the rest is found from it, and all of it is verified:
token index against table, markers against names, addresses ascending and within the kernel.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from relokit.codegen.base.bits import MASK64, round_up
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kernel_file import HEADER, MAX_IMAGE
from relokit.linker.kernel.lowest_symbol import lowest_symbol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint32]
    Numbers = npt.NDArray[np.int64]

TOKENS = 256
NAMES_PER_MARKER = 256
MAX_SYMBOLS = 1 << 20
MAX_TOKEN = 512
"""KSYM_NAME_LEN, in bytes."""
MAX_TEXT = 64 << 20
"""Characters of all names together."""
MAX_WALKED = 8 * MAX_SYMBOLS
"""Names stepped over in all attempts together; shipped kernels need one attempt."""
MAX_CANDIDATES = 64
"""Places that look like a part at first sight and are then verified; shipped kernels have 5."""

# Every kernel has symbols with each digit, so these ten are tokens of one character, in a row.
_DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
_FIRST_DIGIT = ord("0")
# Bytes that 256 names can take up: at least a length, a type and a character each.
_MARKER_STEP = (NAMES_PER_MARKER * 2, NAMES_PER_MARKER * MAX_TOKEN)

LINK_ALIGN = 2 << 20
"""KIMAGE_VADDR, the VA of an Image's first byte, is a multiple of this (asm/memory.h)."""

LOWEST_VA = 0xFFF0 << 48
"""Kernel VAs have their top 12 bits set with up to 52 bits of VA."""
HIGHEST_VA = (1 << 64) - MAX_IMAGE
"""A kernel that is linked above would not end within the address space; ~0 is no pointer."""


@dataclass(frozen=True, slots=True)
class KernelSymbol:
    """``type`` is nm's letter, ``address`` the VA the kernel is linked at, without KASLR."""

    name: str
    type: str
    address: int


@dataclass(frozen=True)
class Kallsyms:
    """All symbols, ascending by address. Offsets are bytes from the start of the Image."""

    names: tuple[str, ...] = field(repr=False)
    types: str = field(repr=False)
    offsets: tuple[int, ...] = field(repr=False)
    link_base: int
    """VA of the Image's first byte."""

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[KernelSymbol]:
        for name, kind, offset in zip(self.names, self.types, self.offsets, strict=True):
            yield KernelSymbol(name, kind, self.link_base + offset)

    def __contains__(self, name: object) -> bool:
        return name in self._first

    def offset(self, name: str) -> int:
        """Offset of the first symbol called ``name``; raises KeyError."""
        return self.offsets[self._first[name]]

    def address(self, name: str) -> int:
        """Link VA of the first symbol called ``name``; raises KeyError."""
        return self.link_base + self.offset(name)

    def offsets_of(self, name: str) -> tuple[int, ...]:
        """Offsets of every symbol called ``name``: static functions share names."""
        return tuple(
            offset for other, offset in zip(self.names, self.offsets, strict=True) if other == name
        )

    def end(self, offset: int) -> int:
        """Offset of the next symbol after ``offset``; of the last one, its own."""
        at = bisect_right(self.offsets, offset)
        return self.offsets[at] if at < len(self.offsets) else self.offsets[-1]

    def names_at(self, offset: int) -> tuple[str, ...]:
        """The names that the byte at ``offset`` has."""
        low, high = bisect_left(self.offsets, offset), bisect_right(self.offsets, offset)
        return self.names[low:high]

    def before(self, offset: int) -> tuple[str, int] | None:
        """The name that the byte at ``offset`` is in, and where that begins."""
        at = bisect_right(self.offsets, offset) - 1
        return (self.names_at(self.offsets[at])[0], self.offsets[at]) if at >= 0 else None

    def within(self, start: int, end: int) -> Iterator[tuple[str, str, int]]:
        """Name, type and offset of every symbol from offset ``start`` up to ``end``."""
        for at in range(bisect_left(self.offsets, start), bisect_left(self.offsets, end)):
            yield self.names[at], self.types[at], self.offsets[at]

    @cached_property
    def _first(self) -> dict[str, int]:
        last_to_first = zip(reversed(self.names), reversed(range(len(self.names))), strict=True)
        return dict(last_to_first)


def read_kallsyms(image: memoryview, *, where: str = "Image") -> Kallsyms:
    """Read the table out of a whole Image; raises FormatError if it has none that holds."""
    _, _, _, image_size, *_ = HEADER.unpack_from(image)
    limit = min(image_size, MAX_IMAGE)
    budget = _Budget(MAX_WALKED)
    for table in _token_tables(image):
        for names in _name_tables(image, table, budget):
            found = _offsets(image, table, names, limit)
            if found is not None:
                return _decode(image, table, names, *found, where=where)
    raise FormatError(
        "no kallsyms in this Image",
        where=where,
        hint="the kernel needs CONFIG_KALLSYMS",
    )


@dataclass(slots=True)
class _Budget:
    """What an Image made to look like many symbol tables may cost."""

    names: int


@dataclass(frozen=True, slots=True)
class _TokenTable:
    tokens: tuple[str, ...]
    start: int
    """First byte of the table."""
    end: int
    """First byte after the index that follows the table."""


def _token_tables(image: memoryview) -> Iterator[_TokenTable]:
    import numpy as np

    hits = re.finditer(re.escape(_DIGITS), image)
    for _, hit in zip(range(MAX_CANDIDATES), hits, strict=False):
        # The digits are in the middle: what follows them gives the end, the index the start.
        near = bytes(image[hit.start() : hit.start() + TOKENS * 64])
        starts = [0]
        while len(starts) <= TOKENS - _FIRST_DIGIT:
            stop = near.find(b"\0", starts[-1], starts[-1] + MAX_TOKEN)
            if stop < 0:
                break
            starts.append(stop + 1)
        else:
            for align in (4, 8):
                at = round_up(hit.start() + starts[-1], align)
                if at + 2 * TOKENS > len(image):
                    continue
                index = np.frombuffer(image, "<u2", TOKENS, at).tolist()
                start = hit.start() - index[_FIRST_DIGIT]
                tail = [entry - index[_FIRST_DIGIT] for entry in index[_FIRST_DIGIT:]]
                if index[0] or start < 0 or tail != starts[:-1]:
                    continue
                strings = bytes(image[start : hit.start() + starts[-1]]).split(b"\0")[:TOKENS]
                tokens = tuple(string.decode("latin-1") for string in strings)
                if len(tokens) == TOKENS:
                    yield _TokenTable(tokens, start, at + 2 * TOKENS)
                break


@dataclass(frozen=True, slots=True)
class _NameTable:
    count: int
    count_at: int
    """Where the number of symbols is stored."""
    starts: tuple[int, ...]
    """Offset in the Image of every name's first token, ascending."""
    lengths: tuple[int, ...]
    """Tokens in every name."""


def _name_tables(image: memoryview, table: _TokenTable, budget: _Budget) -> Iterator[_NameTable]:
    """Every run of words before the token table that could be the markers, verified."""
    import numpy as np

    # Behind the markers there may be three bytes a symbol more (seqs of names).
    first = max(0, table.start - 4 * (MAX_SYMBOLS // NAMES_PER_MARKER) - 3 * MAX_SYMBOLS) & ~3
    words: Words = np.frombuffer(image[first : table.start & ~3], "<u4")
    steps = np.diff(words.astype(np.int64))
    rising = (steps >= _MARKER_STEP[0]) & (steps <= _MARKER_STEP[1])
    begins = np.flatnonzero((words[:-2] == 0) & rising[:-1] & rising[1:])
    # The real ones are the longest run but for rare accidents.
    falls = np.append(np.flatnonzero(~rising), len(rising))
    lengths = falls[np.searchsorted(falls, begins)] - begins + 1
    for pick in np.argsort(-lengths, kind="stable")[:MAX_CANDIDATES].tolist():
        begin, length = int(begins[pick]), int(lengths[pick])
        markers = words[begin : begin + length].tolist()
        yield from _names_before(image, first + 4 * begin, markers, budget)


def _names_before(
    image: memoryview, markers_at: int, markers: list[int], budget: _Budget
) -> Iterator[_NameTable]:
    """Find the number of symbols: as many as the markers say, just before names that fit them."""
    import numpy as np

    last = markers_at - markers[-1]
    first = max(0, last - _MARKER_STEP[1]) & ~3
    if last - first < 8:
        return
    words: Words = np.frombuffer(image[first : first + (last - first & ~3)], "<u4")
    most = len(markers) * NAMES_PER_MARKER
    fits = np.flatnonzero((words > most - NAMES_PER_MARKER) & (words <= most))
    for at in reversed(fits[-MAX_CANDIDATES:].tolist()):
        count, count_at = int(words[at]), first + 4 * at
        if count > MAX_SYMBOLS:
            return
        for gap in (4, 8):
            if budget.names < 0:
                return
            walked = _walk_names(image, count_at + gap, markers_at, count, markers, budget)
            if walked is not None:
                yield _NameTable(count, count_at, *walked)


def _walk_names(
    image: memoryview,
    start: int,
    end: int,
    count: int,
    markers: list[int],
    budget: _Budget,
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Starts and lengths of all names, or None where they do not meet the markers or ``end``."""
    names = image[start:end]
    starts: list[int] = []
    lengths: list[int] = []
    at = 0
    for index in range(count):
        if not index % NAMES_PER_MARKER:
            budget.names -= NAMES_PER_MARKER
            if markers[index // NAMES_PER_MARKER] != at:
                return None
        if at + 2 > len(names):
            return None
        length = names[at]
        at += 1
        # From 6.1 on a long name has seven bits of its length here and the rest in a second byte.
        if length > 0x7F:
            length = length & 0x7F | names[at] << 7
            at += 1
        if not length:
            return None
        starts.append(start + at)
        lengths.append(length)
        at += length
    # Nothing but padding may be left.
    if not 0 <= len(names) - at < 8:
        return None
    return tuple(starts), tuple(lengths)


def _offsets(
    image: memoryview, table: _TokenTable, names: _NameTable, limit: int
) -> tuple[Numbers, int | None] | None:
    """Each symbol's offset from the lowest, and where the base is stored; None if none fits."""
    import numpy as np

    count = names.count
    size = round_up(4 * count, 8)
    before = names.count_at - 8 - size
    after = round_up(table.end, 8)
    for at, base_at in ((after, after + size), (before, before + size), (table.end, None)):
        if at < 0 or at + 4 * count > len(image) or (base_at or 0) + 8 > len(image):
            continue
        stored = np.frombuffer(image, "<i4", count, at).astype(np.int64)
        if base_at is None:
            forms = [stored + at + 4 * np.arange(count)]
        else:
            forms = [stored & 0xFFFFFFFF, -1 - stored]
        for offsets in forms:
            if (
                (np.diff(offsets) >= 0).all()
                and offsets[0] < offsets[-1]
                and offsets[0] >= 0
                and offsets[-1] <= limit
            ):
                return offsets, base_at
    return None


def _decode(
    image: memoryview,
    table: _TokenTable,
    names: _NameTable,
    offsets: Numbers,
    base_at: int | None,
    *,
    where: str,
) -> Kallsyms:
    texts = _texts(image, table, names, where)
    found = tuple(text[1:] for text in texts)
    offsets = offsets + lowest_symbol(image, found, offsets, where)
    return Kallsyms(
        names=found,
        types="".join(text[:1] or "?" for text in texts),
        offsets=tuple(offsets.tolist()),
        link_base=_link_base(image, offsets, base_at, where),
    )


def _texts(image: memoryview, table: _TokenTable, names: _NameTable, where: str) -> list[str]:
    """All names, each with its type before it; every token at once, by numpy."""
    import numpy as np

    first = names.starts[0]
    block = np.frombuffer(image[first : names.starts[-1] + names.lengths[-1]], np.uint8)
    lengths = np.array(names.lengths)
    tokens = block[_runs(np.array(names.starts) - first, lengths)]
    sizes = np.array([len(token) for token in table.tokens])
    characters = sizes[tokens]
    ends = np.cumsum(np.add.reduceat(characters, np.cumsum(lengths) - lengths))
    if ends[-1] > MAX_TEXT:
        raise FormatError(f"kallsyms names pass {MAX_TEXT} characters", where=where)
    pool = np.frombuffer("".join(table.tokens).encode("utf-32-le"), "<u4")
    places = (np.cumsum(sizes) - sizes)[tokens]
    text = pool[_runs(places, characters)].tobytes().decode("utf-32-le")
    bounds = [0, *ends.tolist()]
    return [text[start:end] for start, end in pairwise(bounds)]


def _runs(starts: Numbers, lengths: Numbers) -> Numbers:
    """The numbers from each start on, as many as its length, one run after the other."""
    import numpy as np

    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def _link_base(image: memoryview, offsets: Numbers, base_at: int | None, where: str) -> int:
    """The VA that the Image's first byte is linked at."""
    import numpy as np

    words = np.frombuffer(image[: len(image) & ~7], "<u8")
    if base_at is not None:
        stored = int(words[base_at // 8])
        # Zero in kernels whose relocations, in one of several formats, write it at boot.
        if LOWEST_VA <= stored < HIGHEST_VA:
            return stored - int(offsets[0])
    base = _voted_base(words, offsets)
    if base is None:
        raise FormatError("cannot tell what address this kernel is linked at", where=where)
    return base


def _voted_base(words: npt.NDArray[np.uint64], offsets: Numbers) -> int | None:
    """The base for which the most pointers in the Image are addresses of symbols."""
    import numpy as np

    pointers = words[(words >= LOWEST_VA) & (words < HIGHEST_VA)]
    # An odd step: relocations alternate between the place and the address to put there.
    sample = np.unique(pointers[:: len(pointers) // 8192 | 1]).view(np.int64)
    bases, counts = np.unique(sample // LINK_ALIGN * LINK_ALIGN, return_counts=True)
    best, most = None, 0
    known = np.unique(offsets)
    for base in bases[np.argsort(-counts, kind="stable")[:MAX_CANDIDATES]].tolist():
        near = np.searchsorted(known, sample - base).clip(0, len(known) - 1)
        votes = int((known[near] == sample - base).sum())
        if votes > most:
            best, most = base & MASK64, votes
    return best
