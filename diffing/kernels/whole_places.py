"""What the words of a whole program refer to, by native code (whole_places.c)."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np

from relokit.codegen.base import native
from relokit.codegen.instruction_forms import NOP, InstructionForm
from relokit.diffing.read.references import Flag, Flags, Ints, TextReader, Words, array_places


class Reference(IntEnum):
    """What a word refers to; the byte above the value in ``KernelText.places``."""

    NONE = 0
    INSIDE = 1
    """A place in the function itself; the value is the distance in words."""
    LITERAL = 2
    """The word is data that a literal load in the function loads."""
    FUNCTION = 3
    """A place in a function: its name's number and the distance from there."""
    DATA = 4
    """Another place near a symbol: likewise."""
    NAMELESS = 5
    """A place that no symbol is near; the value is its distance from the function's start."""
    CONSTANT = 6
    """Constant data, compared by what it is; the value is 0, or its name's number and 1."""
    VARIABLE = 7
    """Data that may change, of no name that says which it is, or a page of which no more is known:
    see whole_variables. The value is what is known; later, which it is.
    """


TAG_SHIFT = 56
NAME_SHIFT = 24
"""The distance from a symbol, below, is at most Names.reach."""
NAME_MASK = (1 << TAG_SHIFT) - 1
"""Number of the name and distance."""
BIAS = 1 << 48
"""Makes a signed distance positive."""
_PAGE_SHIFT = 12
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_uint64


def tagged(reference: Reference, value: Ints | int) -> Ints:
    """A place as one number."""
    return np.asarray(value, np.int64) | int(reference) << TAG_SHIFT


def gathered(content: bytes, offsets: Ints, lengths: Ints) -> Words:
    """The words of functions, so many each, that are at ``offsets`` of ``content``."""
    assert ((offsets >= 0) & (offsets + 4 * lengths <= len(content))).all()
    words: Words = np.empty(int(lengths.sum()), np.uint32)
    gather = _native("whole_gather", None, _POINTER, _POINTER, _POINTER, _COUNT, _POINTER)
    gather(native.place(content), *array_places(offsets, lengths), len(lengths),
           *array_places(words))  # fmt: skip
    return words


def trimmed(words: Words, lengths: Ints) -> Ints:
    """Lengths without the nops and zeros at the end; at least one word is left."""
    found = np.empty_like(lengths)
    trim = _native("whole_trim", None, _POINTER, _POINTER, _COUNT, ctypes.c_uint32, _POINTER)
    trim(*array_places(words, lengths), len(lengths), NOP, *array_places(found))
    return found


def with_form(words: Words, lengths: Ints, form: InstructionForm) -> Flags:
    """Which functions have an instruction of this form."""
    found = np.empty(len(lengths), np.bool_)
    word = ctypes.c_uint32
    search = _native("whole_having", None, _POINTER, _POINTER, _COUNT, word, word, _POINTER)
    search(*array_places(words, lengths), len(lengths), *form, *array_places(found))
    return found


def distinct(size: int, *places: Ints) -> Ints:
    """All of ``places`` that are below ``size``, ascending, each once.

    By a bit for each byte: to sort them takes ten times as long.
    """
    bits = np.zeros(size // 64 + 1, np.uint64)
    mark = _native("whole_mark", None, _POINTER, _COUNT, ctypes.c_int64, _POINTER)
    for some in places:
        mark(*array_places(some), len(some), size, *array_places(bits))
    found = np.empty(sum(map(len, places)), np.int64)
    collect = _native("whole_marked", _COUNT, _POINTER, _COUNT, _POINTER)
    return found[: collect(*array_places(bits), len(bits), *array_places(found))]


class _WholeSymbols(ctypes.Structure):
    """``struct whole_symbols`` of whole_places.c."""

    _fields_ = (
        *((name, _POINTER) for name in ("offsets", "numbers", "functions", "pages")),
        *((name, ctypes.c_int64) for name in ("count", "page_count", "reach")),
    )


class _WholeFlags(ctypes.Structure):
    """``struct whole_flags`` of whole_places.c."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("refers", "literal", "by_page", "inside"))


_FLAGS = _WholeFlags(Flag.REFERS, Flag.LITERAL, Flag.BY_PAGE, Flag.INSIDE)


class SymbolRows:
    """Symbols by ascending ``offsets``, each of a row: ``numbers`` of their names, which go
    ``reach`` bytes far, and whether they are ``functions``. Most of what is asked for is in the
    first ``size`` bytes of the program.
    """

    def __init__(
        self, offsets: Ints, numbers: Ints, functions: Flags, reach: int, size: int
    ) -> None:
        count = -(-size >> _PAGE_SHIFT)
        pages: Ints = np.searchsorted(offsets, np.arange(count + 1) << _PAGE_SHIFT)
        self._kept = offsets, numbers, functions, pages
        self._native = _WholeSymbols(*array_places(*self._kept), len(offsets), count, reach)

    def places(self, reader: TextReader, offsets: Ints, lengths: Ints) -> Ints:
        """A tag of Reference and a value for each word of functions at ``offsets``."""
        found = np.empty(len(reader.flags), np.int64)
        write = _native(
            "whole_places", None, ctypes.POINTER(_WholeSymbols), ctypes.POINTER(_WholeFlags),
            _POINTER, _POINTER, _COUNT, _POINTER, _POINTER, _POINTER,
        )  # fmt: skip
        write(
            self._native, _FLAGS, *array_places(offsets, lengths), len(lengths),
            *array_places(reader.target, reader.flags, found),
        )  # fmt: skip
        return found


def _native(name: str, result: Any, *arguments: Any) -> Any:
    _check()
    return native.function(name, result, *arguments)


@cache
def _check() -> None:
    shared = {one.name: int(one) for one in Reference if one < Reference.CONSTANT}
    shared |= {
        "TAG_SHIFT": TAG_SHIFT,
        "NAME_SHIFT": NAME_SHIFT,
        "BIAS": BIAS,
        "PAGE_SHIFT": _PAGE_SHIFT,
        "struct whole_symbols": ctypes.sizeof(_WholeSymbols),
        "struct whole_flags": ctypes.sizeof(_WholeFlags),
    }
    native.check_shared(native.library(), "whole_places_shared", shared)
