"""Hooks compiled to native code, and how to give them to Unicorn.

A hook that fires per block or per system register access costs about 0.5 us in Python and a
tenth of that here. Hooks see plain arrays only: each module that adds one owns its array and
its layout. This is the only module that imports numba for the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import IntEnum
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import carray, cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic
from unicorn import Uc
from unicorn.unicorn_const import UC_ERR_OK
from unicorn.unicorn_py3.unicorn import uclib

from relokit.codegen.errors import MachineError

Words = npt.NDArray[np.uint64]

SPIN_REPEATS = 64
_HANDLER_SLOT = 1024


class Count(IntEnum):
    """Slots of the block hook's array (64-bit words)."""

    INSTRUCTIONS = 0
    LIMIT = 1
    LAST = 2
    LAST_SIZE = 3
    REPEATS = 4
    REASON = 5
    STOP = 6
    BLOCKS = 7


class NativeStop(IntEnum):
    """Why the block hook stopped the engine (``Count.REASON``)."""

    NONE = 0
    LIMIT = 1
    SPIN = 2


def compile_hook(signature: Any) -> Callable[[Callable[..., Any]], int]:
    """Decorator: compile a hook and return its address.

    The compiled code is kept in numba's cache: beside this file, else in the user's cache
    directory (NUMBA_CACHE_DIR overrides both). Where none is writable it is compiled each time.
    """

    def build(function: Callable[..., Any]) -> int:
        try:
            compiled = cfunc(signature, cache=True)(function)
        except RuntimeError:
            compiled = cfunc(signature)(function)
        _KEEP.append(compiled)
        return cast(int, compiled.address)

    return build


_KEEP: list[Any] = []


@intrinsic
def call_pointer(_context: Any, function: Any, arguments: Any) -> Any:
    """Call the C function at address ``function`` with a tuple of arguments; returns its uint32.

    Written as an intrinsic so that the address stays out of the compiled code, which could not
    be cached otherwise. Arguments are pointers or integers.
    """
    signature = types.uint32(function, arguments)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        unpacked = cgutils.unpack_tuple(builder, values[1])
        kind = ir.FunctionType(ir.IntType(32), [value.type for value in unpacked])
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), unpacked)

    return signature, generate


@compile_hook(types.void(types.voidptr, types.uint64, types.uint32, types.CPointer(types.uint64)))
def _count_blocks(uc: Any, address: int, size: int, data: Any) -> None:
    # Runs before the block's first instruction. Once a stop is asked for the counters freeze,
    # because the engine may enter this block's hook again before it returns.
    state = carray(data, (8,))
    if state[5] != 0:
        return
    if state[0] >= state[1]:
        state[5] = 1
        call_pointer(state[6], (uc,))
        return
    # A block of one instruction that follows itself is a branch to itself: no interrupt will
    # ever come, so nothing can change.
    if address == state[2] and size == 4 and state[3] == 4:
        state[4] += np.uint64(1)
        if state[4] >= SPIN_REPEATS:
            state[5] = 2
            call_pointer(state[6], (uc,))
            return
    else:
        state[4] = 0
    state[0] += np.uint64(size >> 2)
    state[2] = address
    state[3] = size
    state[7] += np.uint64(1)


@compile_hook(
    types.uint32(
        types.voidptr, types.int32, types.CPointer(types.uint32), types.CPointer(types.uint64)
    )
)
def _filter_system(uc: Any, register: int, access: Any, data: Any) -> int:
    # access is uc_arm64_cp_reg: CRn, CRm, op0, op1, op2 (32 bits each), padding, value.
    fields = carray(access, (5,))
    key = fields[2] << 14 | fields[3] << 11 | fields[0] << 7 | fields[1] << 3 | fields[4]
    state = carray(data, (_HANDLER_SLOT + 1,))
    if state[key >> 6] >> np.uint64(key & 63) & np.uint64(1):
        return call_pointer(state[_HANDLER_SLOT], (uc, register, access, data))
    return 0


def block_counter_address() -> int:
    """Native address of the block hook that counts and bounds instructions."""
    return _count_blocks


def system_filter_address() -> int:
    """Native address of the MRS/MSR hook that calls a handler for chosen registers only."""
    return _filter_system


def new_counter() -> Words:
    """The block hook's array, with the engine's stop function filled in."""
    words = np.zeros(len(Count), dtype=np.uint64)
    words[Count.STOP] = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value or 0
    return words


def new_filter(keys: frozenset[int], handler: Any) -> Words:
    """The system filter's array: ``keys`` (16-bit encodings) reach ``handler`` (a C callback)."""
    words = np.zeros(_HANDLER_SLOT + 1, dtype=np.uint64)
    for key in keys:
        words[key >> 6] |= np.uint64(1 << (key & 63))
    words[_HANDLER_SLOT] = ctypes.cast(handler, ctypes.c_void_p).value or 0
    return words


def add_native_hook(
    uc: Uc, kind: int, address: int, data: Words, *, instruction: int | None = None
) -> int:
    """Hook ``kind`` to native code at ``address`` with ``data`` as user data; returns its handle.

    ``data`` must live as long as the engine. ``instruction`` is UC_HOOK_INSN's extra argument.
    """
    handle = ctypes.c_size_t()
    extra = () if instruction is None else (ctypes.c_int(instruction),)
    status = uclib.uc_hook_add(
        uc._uch,
        ctypes.byref(handle),
        kind,
        ctypes.c_void_p(address),
        data.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_uint64(1),
        ctypes.c_uint64(0),
        *extra,
    )
    if status != UC_ERR_OK:
        raise MachineError(f"the engine refused a native hook (kind {kind}, status {status})")
    return handle.value
