"""What an instruction word does, by the decoder that the recorder has (decode.c)."""

from __future__ import annotations

import ctypes
from enum import Enum
from functools import cache

from relokit.codegen.base import native
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import (
    BRANCH_OR_CALL,
    LITERAL,
    RELATIVE,
    SYSTEM,
    barrier_name,
)
from relokit.codegen.system_registers import operation_name
from relokit.runtime.record.trace import TraceFlag, TraceKind


class InstructionClass(Enum):
    """What an instruction is; the value is how that is shown."""

    LOAD = "loads"
    STORE = "stores"
    BOTH = "loads and stores"
    CACHE = "cache maintenance"
    TLB = "TLB maintenance"
    BARRIER = "barriers"
    SYSTEM = "system"
    BRANCH = "branches"
    INTEGER = "integer"
    VECTOR = "vector"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WordEffect:
    """``loads`` and ``stores`` are the bytes of an access, 0 for none; all registers of a pair.

    ``operation`` is the name of maintenance, barriers and TTBR or TCR writes; else empty.
    ``distance`` in bytes leads to the target of a direct branch that is no call; 0 if it is none.
    """

    kind: InstructionClass
    loads: int = 0
    stores: int = 0
    operation: str = ""
    distance: int = 0


class _Decoded(ctypes.Structure):
    """``struct decoded``."""

    _fields_ = (
        ("word", ctypes.c_uint32),
        ("offset", ctypes.c_int32),
        *((name, ctypes.c_uint16) for name in ("size", "encoding", "flags")),
        *(
            (name, ctypes.c_uint8)
            for name in ("kind", "base", "index", "extend", "shift", "part", "operand")
        ),
    )


_PLAIN, _ACCESS = 0, 24
_LOADS, _STORES, _BY_ADDRESS = 1 << 0, 1 << 1, 1 << 2
_library = native.library()
native.check_shared(
    _library,
    "decode_shared",
    {
        "KIND_PLAIN": _PLAIN,
        "KIND_ACCESS": _ACCESS,
        **{
            f"KIND_{kind.name}": kind
            for kind in TraceKind
            if kind > TraceKind.FILL and kind not in (TraceKind.EXCEPTION, TraceKind.VECTORS)
        },
        "FLAG_LOADS": _LOADS,
        "FLAG_STORES": _STORES,
        "FLAG_BY_ADDRESS": _BY_ADDRESS,
        **{
            f"FLAG_{flag.name}": flag
            for flag in (
                TraceFlag.EXCLUSIVE,
                TraceFlag.ACQUIRE,
                TraceFlag.RELEASE,
                TraceFlag.UNPRIVILEGED,
                TraceFlag.ATOMIC,
            )
        },
        "REGISTER_31": 31,
        "BASE_PC": 32,
        "NO_REGISTER": 33,
        "struct decoded": ctypes.sizeof(_Decoded),
    },
)

_CLASSES = {
    TraceKind.DC: InstructionClass.CACHE,
    TraceKind.IC: InstructionClass.CACHE,
    TraceKind.TLBI: InstructionClass.TLB,
    TraceKind.AT: InstructionClass.SYSTEM,
    TraceKind.SYS: InstructionClass.SYSTEM,
    TraceKind.MSR: InstructionClass.SYSTEM,
    TraceKind.MSR_FIELD: InstructionClass.SYSTEM,
    TraceKind.MRS: InstructionClass.SYSTEM,
    TraceKind.DSB: InstructionClass.BARRIER,
    TraceKind.DMB: InstructionClass.BARRIER,
    TraceKind.ISB: InstructionClass.BARRIER,
    TraceKind.SB: InstructionClass.BARRIER,
    TraceKind.SVC: InstructionClass.BRANCH,
    TraceKind.HVC: InstructionClass.BRANCH,
    TraceKind.SMC: InstructionClass.BRANCH,
    TraceKind.ERET: InstructionClass.BRANCH,
    TraceKind.UNKNOWN: InstructionClass.UNKNOWN,
}
_MAINTENANCE = TraceKind.DC, TraceKind.IC, TraceKind.TLBI, TraceKind.AT
_CALL = 1 << 31
_TABLES_CRN = 2
TABLES = "tables"
"""The operation of an MSR that writes TTBR or TCR (CRn is 2, DDI 0487, D24.1)."""


@cache
def effect_of(word: int, zero_block: int) -> WordEffect:
    """What ``word`` does; ``zero_block`` are the bytes of DC ZVA."""
    decoded = _Decoded()
    _library.decode_word(ctypes.c_uint32(word), ctypes.byref(decoded))
    if decoded.kind == _ACCESS:
        return _access(decoded, zero_block)
    if decoded.kind == _PLAIN:
        return WordEffect(_plain_class(word), distance=_distance(word))
    kind = TraceKind(decoded.kind)
    if kind in _MAINTENANCE:
        name = operation_name(decoded.encoding)
    elif kind is TraceKind.MSR and decoded.encoding >> 7 & 0xF == _TABLES_CRN:
        name = TABLES
    else:
        name = barrier_name(word) or (kind.name.lower() if kind is TraceKind.SB else "")
    return WordEffect(_CLASSES[kind], operation=name)


def _access(decoded: _Decoded, zero_block: int) -> WordEffect:
    size = zero_block if decoded.flags & TraceFlag.ZERO_BLOCK else decoded.size
    loads = size if decoded.flags & _LOADS else 0
    stores = size if decoded.flags & _STORES else 0
    if loads and stores:
        return WordEffect(InstructionClass.BOTH, loads, stores)
    return WordEffect(InstructionClass.LOAD if loads else InstructionClass.STORE, loads, stores)


def _plain_class(word: int) -> InstructionClass:
    """By op0, bits 28:25 (DDI 0487, C4.1); a prefetch is an instruction of loads."""
    op0 = word >> 25 & 0xF
    if op0 & 0b0101 == 0b0100:
        return InstructionClass.LOAD
    if op0 & 0b0111 == 0b0111:
        return InstructionClass.VECTOR
    if op0 & 0b1110 == 0b1010:
        return InstructionClass.SYSTEM if SYSTEM.holds(word) else InstructionClass.BRANCH
    return InstructionClass.INTEGER


def _distance(word: int) -> int:
    for mask, value, low, bits in RELATIVE:
        if word & mask != value or (mask, value) == LITERAL:
            continue
        if (mask, value) == BRANCH_OR_CALL and word & _CALL:
            return 0
        field = word >> low & ((1 << bits) - 1)
        return 4 * (field - (1 << bits) if field >> (bits - 1) else field)
    return 0
