"""Hooks as native code, and how to give them to Unicorn.

A hook that fires per block or per system register access costs about 0.5 us in Python and a
tenth of that here. Hooks see plain arrays only. They are written in LLVM's own language and
compiled by llvmlite when the module is imported, in a few milliseconds; a Python-to-native
compiler would take most of a second of every start to say the same.
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

from relokit.codegen.base.errors import MachineError
from relokit.codegen.host_code import compile_ir

Words = npt.NDArray[np.uint64]

SPIN_REPEATS = 4096
"""A block that follows itself so often is looked at: it may be a loop that nothing can end."""
_HANDLER_SLOT = 1024
ENCODINGS = 1 << 16
"""System instruction encodings (op0, op1, CRn, CRm, op2 packed)."""


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


class NativeStop(IntEnum):
    """Why the block hook stopped the engine (``Count.REASON``)."""

    NONE = 0
    LIMIT = 1
    SPIN = 2


# Runs before a block's first instruction. Once a stop is asked for the counters freeze, because
# the engine may enter the same hook again before it returns. ``HARMLESS`` is the address of a
# block that may follow itself as often as it likes.
_COUNT_BLOCKS = f"""
define void @count_blocks(ptr %engine, i64 %address, i32 %size, ptr %state) {{
entry:
  %reason.at = getelementptr i64, ptr %state, i64 {BlockSlot.REASON:d}
  %reason = load i64, ptr %reason.at
  %frozen = icmp ne i64 %reason, 0
  br i1 %frozen, label %return, label %bounded
bounded:
  %done.at = getelementptr i64, ptr %state, i64 {BlockSlot.INSTRUCTIONS:d}
  %done = load i64, ptr %done.at
  %limit.at = getelementptr i64, ptr %state, i64 {BlockSlot.LIMIT:d}
  %limit = load i64, ptr %limit.at
  %over = icmp uge i64 %done, %limit
  br i1 %over, label %stop, label %spinning
spinning:
  %last.at = getelementptr i64, ptr %state, i64 {BlockSlot.LAST:d}
  %last = load i64, ptr %last.at
  %repeats.at = getelementptr i64, ptr %state, i64 {BlockSlot.REPEATS:d}
  %repeats = load i64, ptr %repeats.at
  %wide = zext i32 %size to i64
  %again = icmp eq i64 %address, %last
  %more = add i64 %repeats, 1
  %counted = select i1 %again, i64 %more, i64 0
  store i64 %counted, ptr %repeats.at
  %often = icmp uge i64 %counted, {SPIN_REPEATS:d}
  %harmless.at = getelementptr i64, ptr %state, i64 {BlockSlot.HARMLESS:d}
  %harmless = load i64, ptr %harmless.at
  %suspect = icmp ne i64 %address, %harmless
  %spins = and i1 %often, %suspect
  br i1 %spins, label %stop, label %count
count:
  %instructions = lshr i64 %wide, 2
  %sum = add i64 %done, %instructions
  store i64 %sum, ptr %done.at
  store i64 %address, ptr %last.at
  %last.size.at = getelementptr i64, ptr %state, i64 {BlockSlot.LAST_SIZE:d}
  store i64 %wide, ptr %last.size.at
  %blocks.at = getelementptr i64, ptr %state, i64 {BlockSlot.BLOCKS:d}
  %blocks = load i64, ptr %blocks.at
  %blocks.more = add i64 %blocks, 1
  store i64 %blocks.more, ptr %blocks.at
  br label %return
stop:
  %why = phi i64 [ {NativeStop.LIMIT:d}, %bounded ], [ {NativeStop.SPIN:d}, %spinning ]
  store i64 %why, ptr %reason.at
  %function.at = getelementptr i64, ptr %state, i64 {BlockSlot.STOP:d}
  %function = load ptr, ptr %function.at
  %status = call i32 %function(ptr %engine)
  br label %return
return:
  ret void
}}
"""

# The access is Unicorn's uc_arm64_cp_reg: CRn, CRm, op0, op1, op2 (32 bits each), padding, value.
# Leaves its 16-bit encoding in %wide.
_ENCODING = """
  %crn = load i32, ptr %access
  %crm.at = getelementptr i32, ptr %access, i64 1
  %crm = load i32, ptr %crm.at
  %op0.at = getelementptr i32, ptr %access, i64 2
  %op0 = load i32, ptr %op0.at
  %op1.at = getelementptr i32, ptr %access, i64 3
  %op1 = load i32, ptr %op1.at
  %op2.at = getelementptr i32, ptr %access, i64 4
  %op2 = load i32, ptr %op2.at
  %op0.up = shl i32 %op0, 14
  %op1.up = shl i32 %op1, 11
  %crn.up = shl i32 %crn, 7
  %crm.up = shl i32 %crm, 3
  %op = or i32 %op0.up, %op1.up
  %cr = or i32 %crn.up, %crm.up
  %most = or i32 %op, %cr
  %key = or i32 %most, %op2
  %inside = and i32 %key, 65535
  %wide = zext i32 %inside to i64
"""

_FILTER_SYSTEM = f"""
define i32 @filter_system(ptr %engine, i32 %register, ptr %access, ptr %state) {{
entry:
{_ENCODING}
  %slot = lshr i64 %wide, 6
  %bit = and i64 %wide, 63
  %word.at = getelementptr i64, ptr %state, i64 %slot
  %word = load i64, ptr %word.at
  %shifted = lshr i64 %word, %bit
  %chosen = trunc i64 %shifted to i1
  br i1 %chosen, label %handle, label %leave
handle:
  %handler.at = getelementptr i64, ptr %state, i64 {_HANDLER_SLOT:d}
  %handler = load ptr, ptr %handler.at
  %taken = call i32 %handler(ptr %engine, i32 %register, ptr %access, ptr %state)
  ret i32 %taken
leave:
  ret i32 0
}}
"""

# One counter for each encoding; the engine goes on to carry the instruction out.
_COUNT_SYSTEM = f"""
define i32 @count_system(ptr %engine, i32 %register, ptr %access, ptr %state) {{
entry:
{_ENCODING}
  %counter.at = getelementptr i64, ptr %state, i64 %wide
  %count = load i64, ptr %counter.at
  %more = add i64 %count, 1
  store i64 %more, ptr %counter.at
  ret i32 0
}}
"""

_COUNT_CODE = """
define void @count_code(ptr %engine, i64 %address, i32 %size, ptr %counter) {
entry:
  %count = load i64, ptr %counter
  %more = add i64 %count, 1
  store i64 %more, ptr %counter
  ret void
}
"""

# One word of counts for each instruction word from the address in ``PROFILE_BASE`` on.
PROFILE_BASE, PROFILE_WORDS, PROFILE_COUNTS = 0, 1, 2
_COUNT_EACH = f"""
define void @count_each(ptr %engine, i64 %address, i32 %size, ptr %state) {{
entry:
  %base.at = getelementptr i64, ptr %state, i64 {PROFILE_BASE:d}
  %base = load i64, ptr %base.at
  %distance = sub i64 %address, %base
  %index = lshr i64 %distance, 2
  %words.at = getelementptr i64, ptr %state, i64 {PROFILE_WORDS:d}
  %words = load i64, ptr %words.at
  %inside = icmp ult i64 %index, %words
  br i1 %inside, label %count, label %return
count:
  %slot = add i64 %index, {PROFILE_COUNTS:d}
  %counter.at = getelementptr i64, ptr %state, i64 %slot
  %count.now = load i64, ptr %counter.at
  %more = add i64 %count.now, 1
  store i64 %more, ptr %counter.at
  br label %return
return:
  ret void
}}
"""

# A memory access: one more of them, and its bytes. The value it has or gets is of no interest.
ACCESSES, ACCESS_BYTES = 0, 1
_COUNT_ACCESS = f"""
define void @count_access(ptr %engine, i32 %type, i64 %address, i32 %size, i64 %value,
                          ptr %state) {{
entry:
  %count.at = getelementptr i64, ptr %state, i64 {ACCESSES:d}
  %count = load i64, ptr %count.at
  %more = add i64 %count, 1
  store i64 %more, ptr %count.at
  %bytes.at = getelementptr i64, ptr %state, i64 {ACCESS_BYTES:d}
  %bytes = load i64, ptr %bytes.at
  %wide = zext i32 %size to i64
  %sum = add i64 %bytes, %wide
  store i64 %sum, ptr %bytes.at
  ret void
}}
"""


_compiled = compile_ir(
    _COUNT_BLOCKS, _FILTER_SYSTEM, _COUNT_SYSTEM, _COUNT_CODE, _COUNT_EACH, _COUNT_ACCESS
)


def block_counter_address() -> int:
    """Native address of the block hook that counts and bounds instructions."""
    return int(_compiled.get_function_address("count_blocks"))


def system_filter_address() -> int:
    """Native address of the MRS/MSR hook that calls a handler for chosen registers only."""
    return int(_compiled.get_function_address("filter_system"))


def system_counter_address() -> int:
    """Native address of the SYS hook that counts instructions by encoding (ENCODINGS words)."""
    return int(_compiled.get_function_address("count_system"))


def code_counter_address() -> int:
    """Native address of the instruction hook that adds one to the word it is given."""
    return int(_compiled.get_function_address("count_code"))


def profile_address() -> int:
    """Native address of the instruction hook that counts each word of a range by itself."""
    return int(_compiled.get_function_address("count_each"))


def access_counter_address() -> int:
    """Native address of the memory hook that counts accesses and their bytes (two words)."""
    return int(_compiled.get_function_address("count_access"))


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
    words = np.zeros(_HANDLER_SLOT + 1, dtype=np.uint64)
    for key in keys:
        words[key >> 6] |= np.uint64(1 << (key & 63))
    words[_HANDLER_SLOT] = ctypes.cast(handler, ctypes.c_void_p).value or 0
    return words


def add_native_hook(
    uc: Uc,
    kind: int,
    address: int,
    data: Words,
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
