"""Words of whole programs counted by what they are about, by native code (whole_tally.c)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from relokit.codegen.base import native
from relokit.codegen.instruction_forms import SYSTEM
from relokit.diffing.kernels.whole_places import TAG_SHIFT, Reference
from relokit.diffing.kernels.whole_text import KernelText
from relokit.diffing.read.references import Flags, Ints, array_places
from relokit.diffing.routines.classify import TOPS, WEIGHT, ChangeKind


class _TalliedWords(ctypes.Structure):
    """``struct tallied_words`` of whole_tally.c."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in ("words", "places", "starts", "lengths", "rows", "chosen", "data")
        ),
        ("functions", ctypes.c_uint64),
    )


class _TalliedKinds(ctypes.Structure):
    """``struct tallied_kinds`` of whole_tally.c."""

    _fields_ = (
        ("tops", ctypes.c_uint8 * len(TOPS)),
        *((name, ctypes.c_uint32) for name in ("system_mask", "system", "data", "kinds")),
    )


_DATA = WEIGHT.index(ChangeKind.DATA)
_KINDS = _TalliedKinds(tuple(map(WEIGHT.index, TOPS)), *SYSTEM, _DATA, len(WEIGHT))


def tally(
    text: KernelText, chosen: Flags, units: Ints, count: int, data: Flags | None = None
) -> Ints:
    """How many of the ``chosen`` words are of each kind, a row for each of ``count`` units, which
    are by function, or -1; by ``data`` words, what differs is data.
    """
    arrays = text.raw, text.places, text.starts, text.lengths, units, chosen
    words = _TalliedWords(
        *array_places(*arrays), None if data is None else array_places(data)[0], len(units)
    )
    counts = np.zeros((count, len(WEIGHT)), np.int64)
    is_system = (text.raw & np.uint32(SYSTEM.mask)) == SYSTEM.value
    left, rows = np.empty((2, int((is_system & chosen).sum())), np.int64)
    found = _native_tally()(words, _KINDS, *array_places(counts, left, rows))
    # Of System instructions there are many kinds, and few words.
    places = rows[:found] * len(WEIGHT) + text.kinds_of(left[:found])
    return counts + np.bincount(places, minlength=counts.size).reshape(counts.shape)


@cache
def _native_tally() -> Any:
    shared = {
        "TAG_SHIFT": TAG_SHIFT,
        "LITERAL": Reference.LITERAL,
        "TOPS": len(TOPS),
        "struct tallied_words": ctypes.sizeof(_TalliedWords),
        "struct tallied_kinds": ctypes.sizeof(_TalliedKinds),
    }
    native.check_shared(native.library(), "whole_tally_shared", shared)
    pointer = ctypes.c_void_p
    return native.function(
        "whole_tally", ctypes.c_uint64, ctypes.POINTER(_TalliedWords),
        ctypes.POINTER(_TalliedKinds), pointer, pointer, pointer,
    )  # fmt: skip
