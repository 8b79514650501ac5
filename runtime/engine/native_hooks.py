"""Hooks as native code, and how to give them to Unicorn.

A hook that fires per block or per system register access costs about 0.5 us in Python and a
tenth of that in C. The hooks are in native_hooks.c beside this and see plain arrays only; their
slots are named here and there, and compared when this module is imported.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from unicorn import Uc
from unicorn.unicorn_const import UC_ERR_OK
from unicorn.unicorn_py3.unicorn import uclib

from relokit.codegen.base import native
from relokit.codegen.base.errors import MachineError

Words = npt.NDArray[np.uint64]

SPIN_REPEATS = 4096
"""A block that follows itself so often is looked at: it may be a loop that nothing can end."""
LOOK_EVERY = 1 << 24
"""Instructions after which any is."""
ENCODINGS = 1 << 16
"""System instruction encodings (op0, op1, CRn, CRm, op2 packed)."""
FILTER_HANDLER = ENCODINGS // 64
"""The filter's slot after a bit for each encoding: the function called for those that are set."""
PROFILE_BASE, PROFILE_WORDS, PROFILE_COUNTS = 0, 1, 2
"""The profile's slots: PC of the first instruction, how many there are, then a count for each."""
ACCESSES, ACCESS_BYTES = 0, 1
"""The access counter's slots."""


class BlockSlot(IntEnum):
    """Slots of the block hook's array (64-bit words)."""

    INSTRUCTIONS = 0
    LIMIT = 1
    LAST = 2
    LAST_SIZE = 3
    REPEATS = 4
    REASON = 5
    STOP = 6
    BLOCKS = 7
    HARMLESS = 8
    BEFORE = 9
    ALARM = 10
    BOARD = 11
    CALL = 12
    PATH = 13
    LOOK = 14


class NativeStop(IntEnum):
    """Why a hook stopped the engine (``BlockSlot.REASON``): the counters are frozen."""

    NONE = 0
    LIMIT = 1
    SPIN = 2
    FAULT = 3
    INTERRUPT = 4


_library = native.library()
native.check_shared(
    _library,
    "native_hooks_shared",
    {
        **{f"BLOCK_{slot.name}": slot for slot in BlockSlot},
        **{f"STOP_{why.name}": why for why in NativeStop},
        "SPIN_REPEATS": SPIN_REPEATS,
        "LOOK_EVERY": LOOK_EVERY,
        "ENCODINGS": ENCODINGS,
        "FILTER_HANDLER": FILTER_HANDLER,
        "PROFILE_BASE": PROFILE_BASE,
        "PROFILE_WORDS": PROFILE_WORDS,
        "PROFILE_COUNTS": PROFILE_COUNTS,
        "ACCESSES": ACCESSES,
        "ACCESS_BYTES": ACCESS_BYTES,
    },
)


def block_counter_address() -> int:
    """Native address of the block hook that counts and bounds instructions."""
    return native.address(_library, "count_blocks")


def system_filter_address() -> int:
    """Native address of the MRS/MSR hook that calls a handler for chosen registers only."""
    return native.address(_library, "filter_system")


def code_counter_address() -> int:
    """Native address of the instruction hook that adds one to the word it is given."""
    return native.address(_library, "count_code")


def profile_address() -> int:
    """Native address of the instruction hook that counts each word of a range by itself."""
    return native.address(_library, "count_each")


def access_counter_address() -> int:
    """Native address of the memory hook that counts accesses and their bytes (two words)."""
    return native.address(_library, "count_access")


def new_profile(base: int, words: int) -> Words:
    """The profile's array for ``words`` instructions from PC ``base`` on."""
    state = np.zeros(PROFILE_COUNTS + words, dtype=np.uint64)
    state[PROFILE_BASE], state[PROFILE_WORDS] = base, words
    return state


def new_counter() -> Words:
    """The block hook's array, with the engine's stop function filled in."""
    words = np.zeros(len(BlockSlot), dtype=np.uint64)
    words[BlockSlot.STOP] = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value or 0
    return words


def new_filter(keys: frozenset[int], handler: Any) -> Words:
    """The system filter's array: ``keys`` (16-bit encodings) reach ``handler`` (a C callback)."""
    words = np.zeros(FILTER_HANDLER + 1, dtype=np.uint64)
    for key in keys:
        words[key >> 6] |= np.uint64(1 << (key & 63))
    words[FILTER_HANDLER] = ctypes.cast(handler, ctypes.c_void_p).value or 0
    return words


def add_native_hook(
    uc: Uc,
    kind: int,
    address: int,
    data: npt.NDArray[Any],
    *,
    instruction: int | None = None,
    at: int | None = None,
    last: int | None = None,
) -> int:
    """Hook ``kind`` to native code at ``address`` with ``data`` as user data; returns its handle.

    ``data`` must live as long as the engine. ``instruction`` is UC_HOOK_INSN's extra argument.
    ``at`` bounds the hook to one PC value, or with ``last`` to those between the two.
    """
    handle = ctypes.c_size_t()
    extra = () if instruction is None else (ctypes.c_int(instruction),)
    status = uclib.uc_hook_add(
        uc._uch,
        ctypes.byref(handle),
        kind,
        ctypes.c_void_p(address),
        data.ctypes.data_as(ctypes.c_void_p),
        # A range that ends before it begins is every address.
        ctypes.c_uint64(1 if at is None else at),
        ctypes.c_uint64(0 if at is None else at if last is None else last),
        *extra,
    )
    if status != UC_ERR_OK:
        raise MachineError(f"the engine refused a native hook (kind {kind}, status {status})")
    return handle.value


def remove_native_hook(uc: Uc, handle: int) -> None:
    """Take away what :func:`add_native_hook` added; its ``data`` may go then."""
    uclib.uc_hook_del(uc._uch, ctypes.c_size_t(handle))
