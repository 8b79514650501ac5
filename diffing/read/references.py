"""What places machine code refers to, all of it at once: as arrays, no word by itself in Python.

The rules are those of diffing/instructions/decode.py. Encodings: ARM DDI 0487, C4.1.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntFlag
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base import native
from relokit.codegen.base.bits import MASK64
from relokit.codegen.instruction_forms import (
    ADD,
    ADR,
    ADR_FIELD,
    ADRP,
    LITERAL,
    RELATIVE,
    UNSIGNED_OFFSET,
    WITHIN_PAGE,
    InstructionForm,
)
from relokit.diffing.read.page_register import CALLS, GOES_ON, LEAVING, REACH, SAVED, WRITTEN

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]

_LOW_FIELD = 0x003FFC00


def data_references(code: bytes | memoryview, address: int) -> list[int]:
    """VAs that ``code``, at VA ``address``, takes: by ADR, ADRP with its low half, literal loads.

    All of it is taken for one function.
    """
    words = np.frombuffer(memoryview(code)[: len(code) & ~3], "<u4").astype(np.uint32)
    base = address & ~WITHIN_PAGE
    whole = np.array([address - base], np.int64), np.array([len(words)], np.int64)
    reader = TextReader(words, *whole, 0)
    taken = reader.target[reader.having(Flag.TAKES)]
    return [base + target for target in np.unique(taken).tolist()]


def pointers_within(content: bytes | memoryview, base: int) -> tuple[Ints, Ints]:
    """Offsets at which 64 bits are an address in ``content``, linked at VA ``base``, and offsets of
    what these are the addresses of.
    """
    collect = native.function(
        "pointers_within", ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64,
        ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p,
    )  # fmt: skip
    low = base & MASK64
    # Zero is no pointer, wherever the program is.
    words = native.place(content), len(content) // 8, max(low, 1), min(low + len(content), MASK64)
    count = collect(*words, None, None)
    places, values = np.empty(count, np.int64), np.empty(count, np.uint64)
    collect(*words, *array_places(places, values))
    return 8 * places, (values - np.uint64(low)).astype(np.int64)


def branch_references(code: bytes | memoryview, address: int) -> list[int]:
    """VAs that branches in ``code``, at VA ``address``, lead to; what is data may add some."""
    words = np.frombuffer(memoryview(code)[: len(code) & ~3], "<u4").astype(np.uint32)
    found = [
        4 * (at + _field(words[at], low, width))
        for mask, form, low, width in RELATIVE
        if (mask, form) != LITERAL
        for at in (np.flatnonzero((words & np.uint32(mask)) == form),)
    ]
    return [address + distance for distance in np.unique(np.concatenate(found)).tolist()]


def accessed_bytes(words: Words) -> Ints:
    """How many bytes a load or store with the low half of an address accesses, or a literal load;
    0 for what only takes an address.
    """
    literal = (words & np.uint32(LITERAL.mask)) == LITERAL.value
    access = (words & np.uint32(UNSIGNED_OFFSET.mask)) == UNSIGNED_OFFSET.value
    vector = words >> np.uint32(26) & np.uint32(1)
    loaded = np.array([[4, 8, 4, 0], [4, 8, 16, 0]])[vector, words >> np.uint32(30)]
    found: Ints = np.where(literal, loaded, np.where(access, 1 << _scale(words), 0))
    return found


def spans(starts: Ints, lengths: Ints) -> Ints:
    """The numbers from each start on, as many as its length, one range after the other."""
    firsts = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    return np.repeat(starts - firsts, lengths) + np.arange(total, dtype=np.int64)


class Flag(IntFlag):
    """What a word is found to be: ``enum reference_flag`` of references.c."""

    REFERS = 1
    """It refers to a place."""
    LITERAL = 2
    """It is data that a literal load in its function loads."""
    BY_PAGE = 4
    """It is an ADRP or completes one: never a place inside, always one by name."""
    COMPLETED = 8
    """It is an ADRP of which it is known where in the page it leads."""
    INSIDE = 16
    """It refers to a place in its own function."""
    TAKES = 32
    """It takes or accesses a place, all of which is in it: no branch; and no ADRP, of which only
    what completes it knows the place."""


class TextReader:
    """Takes words apart, one function after the other, by native code (references.c).

    Function i is ``lengths[i]`` words at byte ``offsets[i]`` of a program; ``low_base`` and an
    offset make an address, modulo a page. ``flags`` are those of Flag, by word; ``target`` holds,
    where one refers, byte offsets in the program; ``masked`` are the words without the fields that
    say so.
    """

    def __init__(self, words: Words, offsets: Ints, lengths: Ints, low_base: int) -> None:
        self.masked = words.copy()
        self.target: Ints = np.zeros(len(words), np.int64)
        self.flags: npt.NDArray[np.uint8] = np.zeros(len(words), np.uint8)
        _native_read()(
            _FORMS, *array_places(words, offsets, lengths), len(lengths), low_base,
            *array_places(self.masked, self.target, self.flags),
        )  # fmt: skip

    def having(self, flags: Flag) -> Ints:
        """The words with any of ``flags``."""
        found: Ints = np.flatnonzero(self.flags & np.uint8(flags) != 0)
        return found


class _Form(ctypes.Structure):
    """``struct form`` of references.c."""

    _fields_ = (("mask", ctypes.c_uint32), ("value", ctypes.c_uint32))


class _RelativeForm(ctypes.Structure):
    """``struct relative_form`` of references.c."""

    _fields_ = (("form", _Form), ("low", ctypes.c_uint32), ("width", ctypes.c_uint32))


class _WrittenForm(ctypes.Structure):
    """``struct written_form`` of references.c."""

    _fields_ = (("form", _Form), ("when", ctypes.c_uint32), ("shift", ctypes.c_uint32))


class _Forms(ctypes.Structure):
    """``struct reference_forms`` of references.c."""

    _fields_ = (
        ("relative", _RelativeForm * len(RELATIVE)),
        *((name, _Form) for name in ("adr", "adrp", "add", "access", "literal", "branch")),
        ("goes_on", _Form * len(GOES_ON)),
        ("calls", _Form * len(CALLS)),
        ("written", _WrittenForm * len(WRITTEN)),
        ("adr_field", ctypes.c_uint32),
        ("low_field", ctypes.c_uint32),
        ("saved", ctypes.c_uint32),
        ("reach", ctypes.c_uint32),
    )


def _forms(forms: Sequence[InstructionForm]) -> Any:
    return (_Form * len(forms))(*(_Form(*form) for form in forms))


_FORMS = _Forms(
    (_RelativeForm * len(RELATIVE))(
        *(_RelativeForm(_Form(mask, value), low, width) for mask, value, low, width in RELATIVE)
    ),
    *(_Form(*form) for form in (ADR, ADRP, ADD, UNSIGNED_OFFSET, LITERAL)),
    _Form(*LEAVING),
    _forms(GOES_ON),
    _forms(CALLS),
    (_WrittenForm * len(WRITTEN))(
        *(_WrittenForm(_Form(*form), when, shift) for form, when, shift in WRITTEN)
    ),
    ADR_FIELD,
    _LOW_FIELD,
    sum(1 << register for register in SAVED),
    REACH,
)


@cache
def _native_read() -> Any:
    shared = {str(flag.name): int(flag) for flag in Flag}
    shared |= {
        "FIELDS": len(RELATIVE),
        "GO_ON": len(GOES_ON),
        "CALLS": len(CALLS),
        "WRITTEN": len(WRITTEN),
        "struct reference_forms": ctypes.sizeof(_Forms),
    }
    native.check_shared(native.library(), "references_shared", shared)
    pointer = ctypes.c_void_p
    return native.function(
        "references_read", None, ctypes.POINTER(_Forms), pointer, pointer, pointer, ctypes.c_uint64,
        ctypes.c_int64, pointer, pointer, pointer,
    )  # fmt: skip


def array_places(*arrays: npt.NDArray[Any]) -> list[int]:
    """Where arrays lie, each of them in one piece."""
    assert all(one.flags.c_contiguous for one in arrays)
    return [int(one.ctypes.data) for one in arrays]


def _field(words: Words, low: int, width: int) -> Ints:
    """A signed field of each word."""
    value: Ints = words.astype(np.int64) >> low & (1 << width) - 1
    return value - ((value >> width - 1) << width)


def _scale(words: Words) -> Ints:
    """By what the 12 bits of ADD, or of a load or store, are shifted."""
    scale = words.astype(np.int64) >> 30
    wide = (words >> np.uint32(26) & words >> np.uint32(23) & np.uint32(1)) != 0
    scale = np.where(wide, 4, scale)  # 128-bit: size 0, opc<1> set
    return np.where((words & np.uint32(ADD.mask)) == ADD.value, 0, scale)
