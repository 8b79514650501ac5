"""Where the parts of a kernel's symbol table are, and what is in them.

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

Whatever there is one of for each symbol is looked at by native code (kallsyms.c).
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Iterator
from ctypes import c_int, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache
from itertools import accumulate, islice
from typing import Any

from relokit.codegen.base import native
from relokit.codegen.base.bits import round_up
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.finding import occurrences

TOKENS = 256
NAMES_PER_MARKER = 256
MAX_SYMBOLS = 1 << 20
MAX_TOKEN = 512
"""KSYM_NAME_LEN, in bytes."""
MAX_WALKED = 8 * MAX_SYMBOLS
"""Names stepped over in all attempts together; shipped kernels need one attempt."""
MAX_CANDIDATES = 64
"""Places that look like a part at first sight and are then verified; shipped kernels have 5."""

# Every kernel has symbols with each digit, so these ten are tokens of one character, in a row.
_DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
_FIRST_DIGIT = ord("0")
# Bytes that 256 names take up at most.
_MOST_STEP = NAMES_PER_MARKER * MAX_TOKEN
_INDEX = struct.Struct(f"<{TOKENS}H")
# Forms of offsets, as kallsyms.c has them.
_STORED, _TURNED, _RELATIVE = range(3)


class _MarkerRun(ctypes.Structure):
    """``struct marker_run`` of kallsyms.c."""

    _fields_ = (("first", c_uint64), ("count", c_uint64))


class _WalkedNames(ctypes.Structure):
    """``struct walked_names`` of kallsyms.c."""

    _fields_ = (("names", c_uint64), ("characters", c_uint64))


@dataclass(slots=True)
class _Budget:
    """What an Image made to look like many symbol tables may cost."""

    names: int


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The strings that names are made of, from byte ``start`` of the Image to ``end``, behind the
    index that follows them.
    """

    tokens: bytes
    """All of them, one after the other."""
    starts: array[int]
    """Where each begins in ``tokens``, and where they end."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NameTable:
    """``count`` names from byte ``start`` of the Image to ``end``, of so many ``characters``, their
    types among them. Their number is stored at ``count_at``.
    """

    count: int
    count_at: int
    start: int
    end: int
    characters: int


@dataclass(frozen=True, slots=True)
class SymbolTables:
    """All parts. ``offsets`` are those of the symbols from the lowest; the VA of that is stored at
    ``base_at``, or nowhere.
    """

    tokens: TokenTable
    names: NameTable
    offsets: array[int]
    base_at: int | None


def find_tables(image: memoryview, limit: int) -> SymbolTables | None:
    """The first symbol table in a whole Image that holds, of symbols within ``limit`` bytes."""
    budget = _Budget(MAX_WALKED)
    for tokens in _token_tables(image):
        for names in _name_tables(image, tokens, budget):
            found = _offsets(image, tokens, names, limit)
            if found is not None:
                return SymbolTables(tokens, names, *found)
    return None


def expanded(
    image: memoryview, tokens: TokenTable, names: NameTable
) -> tuple[bytearray, array[int], bytearray]:
    """A zero and all names, each with a zero behind it; where each begins, and where they end; and
    their types. All characters are bytes, as in Latin-1.
    """
    text = bytearray(1 + names.characters + names.count)
    begins = array("I", bytes(4 * (names.count + 1)))
    types = bytearray(names.count)
    expand = _native(
        "kallsyms_expand", c_uint64, c_void_p, c_uint64, c_void_p, c_void_p, c_void_p, c_void_p,
        c_void_p,
    )  # fmt: skip
    size = expand(
        native.place(image[names.start :]), names.count, native.place(tokens.tokens),
        native.place(tokens.starts), native.place(text), native.place(begins), native.place(types),
    )  # fmt: skip
    del text[size:]
    return text, begins, types


def find_name(text: bytes | bytearray, begins: array[int], name: bytes, start: int) -> int:
    """The number of the first ``name`` from number ``start`` on in what is expanded, or -1."""
    search = _native(
        "kallsyms_find", c_int64, c_void_p, c_void_p, c_uint64, c_uint64, ctypes.c_char_p, c_uint64
    )
    found: int = search(
        native.place(text), native.place(begins), len(begins) - 1, start, name, len(name)
    )
    return found


def _token_tables(image: memoryview) -> Iterator[TokenTable]:
    for digits in islice(occurrences(image, _DIGITS), MAX_CANDIDATES):
        # The digits are in the middle: what follows them gives the end, the index the start.
        near = bytes(image[digits : digits + TOKENS * 64])
        starts = [0]
        while len(starts) <= TOKENS - _FIRST_DIGIT:
            stop = near.find(b"\0", starts[-1], starts[-1] + MAX_TOKEN)
            if stop < 0:
                break
            starts.append(stop + 1)
        else:
            for align in (4, 8):
                at = round_up(digits + starts[-1], align)
                if at + 2 * TOKENS > len(image):
                    continue
                index = _INDEX.unpack_from(image, at)
                start = digits - index[_FIRST_DIGIT]
                tail = [entry - index[_FIRST_DIGIT] for entry in index[_FIRST_DIGIT:]]
                if index[0] or start < 0 or tail != starts[:-1]:
                    continue
                strings = bytes(image[start : digits + starts[-1]]).split(b"\0")[:TOKENS]
                if len(strings) == TOKENS:
                    begins = array("I", accumulate(map(len, strings), initial=0))
                    yield TokenTable(b"".join(strings), begins, start, at + 2 * TOKENS)
                break


def _name_tables(image: memoryview, tokens: TokenTable, budget: _Budget) -> Iterator[NameTable]:
    """Every run of words before the token table that could be the markers, verified."""
    # Behind the markers there may be three bytes a symbol more (seqs of names).
    first = max(0, tokens.start - 4 * (MAX_SYMBOLS // NAMES_PER_MARKER) - 3 * MAX_SYMBOLS) & ~3
    runs = (_MarkerRun * MAX_CANDIDATES)()
    search = _native("kallsyms_markers", c_uint64, c_void_p, c_uint64, c_void_p)
    found = search(native.place(image[first:]), (tokens.start - first) // 4, runs)
    for run in runs[:found]:
        at = first + 4 * run.first
        yield from _names_before(image, at, image[at : at + 4 * run.count], tokens, budget)


def _names_before(
    image: memoryview, markers_at: int, markers: memoryview, tokens: TokenTable, budget: _Budget
) -> Iterator[NameTable]:
    """Find the number of symbols: as many as the markers say, just before names that fit them."""
    last = markers_at - int.from_bytes(markers[-4:], "little")
    first = max(0, last - _MOST_STEP) & ~3
    if last - first < 8:
        return
    most = len(markers) // 4 * NAMES_PER_MARKER
    numbers = (c_uint32 * MAX_CANDIDATES)()
    search = _native("kallsyms_counts", c_uint64, c_void_p, c_uint64, c_uint32, c_uint32, c_void_p)
    found = search(
        native.place(image[first:]), (last - first) // 4, most - NAMES_PER_MARKER, most, numbers
    )
    for number in numbers[:found]:
        count_at = first + 4 * number
        count = int.from_bytes(image[count_at : count_at + 4], "little")
        if count > MAX_SYMBOLS:
            return
        for gap in (4, 8):
            if budget.names < 0:
                return
            start = count_at + gap
            characters = _walk_names(image[start:markers_at], count, markers, tokens, budget)
            if characters is not None:
                yield NameTable(count, count_at, start, markers_at, characters)


def _walk_names(
    names: memoryview, count: int, markers: memoryview, tokens: TokenTable, budget: _Budget
) -> int | None:
    """The characters of all names, or None where they do not meet the markers or the end."""
    walked = _WalkedNames()
    walk = _native(
        "kallsyms_walk", c_int, c_void_p, c_uint64, c_uint64, c_void_p, c_void_p, c_void_p
    )
    fits = walk(
        native.place(names), len(names), count, native.place(markers),
        native.place(tokens.starts), ctypes.byref(walked),
    )  # fmt: skip
    budget.names -= walked.names
    return walked.characters if fits else None


def _offsets(
    image: memoryview, tokens: TokenTable, names: NameTable, limit: int
) -> tuple[array[int], int | None] | None:
    """Each symbol's offset from the lowest, and where the base is stored; None if none fits."""
    count = names.count
    size = round_up(4 * count, 8)
    before = names.count_at - 8 - size
    after = round_up(tokens.end, 8)
    read = _native("kallsyms_offsets", c_int, c_void_p, c_uint64, c_int, c_int64, c_int64, c_void_p)
    offsets = array("q", bytes(8 * count))
    for at, base_at in ((after, after + size), (before, before + size), (tokens.end, None)):
        if at < 0 or at + 4 * count > len(image) or (base_at or 0) + 8 > len(image):
            continue
        for form in (_RELATIVE,) if base_at is None else (_STORED, _TURNED):
            words = native.place(image[at:])
            if read(words, count, form, at, limit, native.place(offsets)):
                return offsets, base_at
    return None


def _native(name: str, result: Any, *arguments: Any) -> Any:
    _check()
    return native.function(name, result, *arguments)


@cache
def _check() -> None:
    native.check_shared(
        native.library(),
        "kallsyms_shared",
        {
            "NAMES_PER_MARKER": NAMES_PER_MARKER,
            "MAX_TOKEN": MAX_TOKEN,
            "MAX_CANDIDATES": MAX_CANDIDATES,
            "TOKENS": TOKENS,
            "struct marker_run": ctypes.sizeof(_MarkerRun),
            "struct walked_names": ctypes.sizeof(_WalkedNames),
        },
    )
