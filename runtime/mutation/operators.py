"""The mutation operators: what each makes of one instruction, and which mistake that models."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import BARRIER, NOP
from relokit.codegen.system_registers import (
    OPERATIONS,
    REGISTERS,
    decode_system,
    encode_key,
    register_key,
)
from relokit.runtime.mutation.encodings import (
    HW,
    IMM6,
    IMM16,
    SHIFT,
    BitField,
    Encoding,
    distance_of,
    encoding_of,
    valid_bitmask,
)
from relokit.runtime.mutation.mutant import DataPlace

ZERO_REGISTER = 31


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an operator may know of a word's routine: ``registers`` are all that it uses."""

    registers: tuple[int, ...]


Change = Callable[[int, Surroundings], Iterator[int]]
"""The words that an instruction word may become."""


@dataclass(frozen=True, slots=True)
class Operator:
    """``does`` is what it makes of an instruction, ``models`` the mistake that this is."""

    name: str
    does: str
    models: str
    change: Change


# System instructions ------------------------------------------------------------------------

_WEAKER: dict[str, tuple[str, ...]] = {
    "dc civac": ("dc cvac", "dc cvau", "dc ivac", "dc cisw", "dc csw", "dc isw", "dc zva"),
    "dc cvac": ("dc cvau", "dc ivac", "dc csw", "dc isw", "dc zva"),
    "dc cvau": ("dc ivac", "dc csw", "dc isw", "dc zva"),
    "dc ivac": ("dc cvac", "dc cvau", "dc isw", "dc zva"),
    "ic ialluis": ("ic iallu", "ic ivau"),
    "ic iallu": ("ic ivau",),
    "tlbi vmalle1is": ("tlbi vmalle1", "tlbi aside1is", "tlbi vae1is", "tlbi vaale1is"),
    "tlbi vmalle1": ("tlbi aside1", "tlbi vae1", "tlbi vale1", "tlbi vaale1", "tlbi alle2"),
    "tlbi alle2": ("tlbi vae2", "tlbi vmalle1", "tlbi alle1"),
    "tlbi alle1": ("tlbi vmalle1", "tlbi alle2"),
}
"""What does less, or something else, in place of each (ARM DDI 0487, C5.3 to C5.5, D8.17)."""

_DOMAINS = (1, 0, 2, 3)
"""CRm[3:2] by what they reach: non-shareable, outer, inner shareable, the full system.

Outer shareable reaches more than inner; code takes it for less, so it is tried there too."""
_LOADS, _STORES, _LOADS_AND_STORES = 1, 2, 3
"""CRm[1:0]: what has to be complete (C6.2.94)."""
_DSB, _DMB, _ISB = 4, 5, 6
_OP2 = BitField("op2", 5, 3)
_CRM = BitField("CRm", 8, 4)


def _weaker_system(word: int, _: Surroundings) -> Iterator[int]:
    if BARRIER.holds(word):
        yield from _weaker_barrier(word)
        return
    system = decode_system(word)
    if system is None or system.form != "sys":
        return
    for name in _WEAKER.get(system.name, ()):
        yield word & ~(0xFFFF << 5) | OPERATIONS[name] << 5


def _weaker_barrier(word: int) -> Iterator[int]:
    kind, option = _OP2.get(word), _CRM.get(word)
    if kind == _ISB:
        yield _OP2.put(word, _DSB)
    if kind != _DSB:
        return
    domain, types = option >> 2, option & _LOADS_AND_STORES
    for narrower in _DOMAINS[: _DOMAINS.index(domain)]:
        yield _CRM.put(word, narrower << 2 | types)
    if types == _LOADS_AND_STORES:
        yield _CRM.put(word, domain << 2 | _LOADS)
        yield _CRM.put(word, domain << 2 | _STORES)
    yield _OP2.put(word, _DMB)
    yield _CRM.put(_OP2.put(word, _ISB), 15)


_CONFUSED = (
    ("TTBR0_EL1", "TTBR1_EL1"),
    ("SCTLR_EL1", "SCTLR_EL2"),
    ("SCTLR_EL1", "TCR_EL1"),
    ("VBAR_EL2", "VBAR_EL1"),
    ("TTBR0_EL1", "TTBR0_EL2"),
    ("TTBR1_EL1", "VBAR_EL1"),
    ("CTR_EL0", "DCZID_EL0"),
    ("SCTLR_EL12", "SCTLR_EL1"),
)


def _other_register(word: int, _: Surroundings) -> Iterator[int]:
    system = decode_system(word)
    if system is None or system.form not in ("mrs", "msr") or system.key not in REGISTERS.values():
        return
    for pair in _CONFUSED:
        keys = [register_key(name) for name in pair]
        if system.key in keys:
            other = keys[1 - keys.index(system.key)]
            yield word & ~(0xFFFF << 5) | other << 5


_DAIF_SET, _DAIF_CLEAR = (encode_key(0, 3, 4, 0, op2) & 0x3F87 for op2 in (6, 7))


def _other_mask(word: int, _: Surroundings) -> Iterator[int]:
    system = decode_system(word)
    if system is None or system.name != "DAIFSet":
        return
    for bit in range(4):
        yield _CRM.put(word, system.rt & ~(1 << bit))
    yield _OP2.put(word, 7)


# Operands -----------------------------------------------------------------------------------


def _registers(word: int, around: Surroundings) -> Iterator[int]:
    encoding = encoding_of(word)
    for field in encoding.registers if encoding else ():
        used = field.get(word)
        if encoding and encoding.name == "system" and used == ZERO_REGISTER:
            continue  # an operation without an operand
        after = [register for register in around.registers if register > used]
        yield field.put(word, (*after, *around.registers)[0])
        yield field.put(word, ZERO_REGISTER)


def _immediates(word: int, _: Surroundings) -> Iterator[int]:
    encoding = encoding_of(word)
    for field in encoding.immediates if encoding else ():
        value = field.get(word)
        for other in (value + 1, value - 1, 0):
            changed = field.put(word, other)
            if encoding and (encoding.name != "logical-immediate" or valid_bitmask(changed)):
                yield changed


def _constants(word: int, _: Surroundings) -> Iterator[int]:
    encoding = encoding_of(word)
    if encoding is None or encoding.name != "move-wide":
        return
    for bit in range(IMM16.width):
        yield IMM16.put(word, IMM16.get(word) ^ 1 << bit)


def _targets(word: int, _: Surroundings) -> Iterator[int]:
    distance = distance_of(word)
    if distance is None:
        return
    for other in (4, -4):
        changed = distance.put(word, distance.get(word) + other)
        if changed is not None:
            yield changed


_EQ, _NE, _HS, _LO, _MI, _PL, _VS, _VC, _HI, _LS, _GE, _LT, _GT, _LE, _AL = range(15)
_NEIGHBOURS: dict[int, tuple[int, ...]] = {
    _EQ: (_HS, _LS),
    _NE: (_LO, _HI),
    _HS: (_HI, _NE, _EQ, _GE),
    _LO: (_LS, _NE, _EQ, _LT),
    _HI: (_HS, _NE, _GT),
    _LS: (_LO, _EQ, _LE),
    _GE: (_GT, _NE, _HS),
    _LT: (_LE, _NE, _LO),
    _GT: (_GE, _NE, _HI),
    _LE: (_LT, _EQ, _LS),
}
"""Conditions that one may write for another, beside its opposite (C1.2.4)."""


def _conditions(word: int, _: Surroundings) -> Iterator[int]:
    encoding = encoding_of(word)
    if encoding is None:
        return
    if encoding.condition is not None:
        condition = encoding.condition.get(word)
        for other in (condition ^ 1, *_NEIGHBOURS.get(condition, ()), _AL):
            yield encoding.condition.put(word, other)
    elif encoding.name in ("compare-branch", "test-branch"):
        [opposite] = encoding.kinds
        yield opposite.put(word, 1 - opposite.get(word))


def _flags(word: int, _: Surroundings) -> Iterator[int]:
    encoding = encoding_of(word)
    if encoding and encoding.sets_flags:
        yield encoding.sets_flags.put(word, 1 - encoding.sets_flags.get(word))


def _widths(word: int, _: Surroundings) -> Iterator[int]:
    encoding = encoding_of(word)
    if encoding is None:
        return
    if encoding.name == "pair":
        yield word & ~(3 << 30)
    elif encoding.has_width and not (encoding.name == "move-wide" and HW.get(word) > 1):
        yield word ^ 1 << 31


def _kinds(word: int, _: Surroundings) -> Iterator[int]:
    encoding = encoding_of(word)
    for field in _kinds_of(encoding, word):
        for other in range(field.most + 1):
            if other != field.get(word):
                yield field.put(word, other)


def _kinds_of(encoding: Encoding | None, word: int) -> tuple[BitField, ...]:
    """But for those that are a condition, and for how nothing is shifted."""
    if encoding is not None and encoding.name in ("logical", "add") and not IMM6.get(word):
        return tuple(one for one in encoding.kinds if one is not SHIFT)
    if encoding is None or encoding.name in ("compare-branch", "test-branch"):
        return ()
    return encoding.kinds


def _nothing(word: int, _: Surroundings) -> Iterator[int]:
    if word != NOP:
        yield NOP


DROP, SWAP, MOVE = "drop", "swap", "move"
OPERATORS: tuple[Operator, ...] = (
    Operator(DROP, "no operation in its place", "a step that was forgotten", _nothing),
    Operator(
        "weaken",
        "a DC, IC, TLBI, DSB or ISB that does less, or another thing",
        "maintenance of too few caches, levels, entries or observers",
        _weaker_system,
    ),
    Operator(
        "system-register", "another register in MRS or MSR", "a register confused", _other_register
    ),
    Operator("mask", "DAIFSet that masks less, or DAIFClr", "an interrupt left open", _other_mask),
    Operator(
        "register", "another register as one operand, and the zero register",
        "an operand confused, or overwritten before", _registers,
    ),
    Operator(
        "immediate", "an immediate of one more, one less, or zero",
        "an offset, a size or a shift that is off", _immediates,
    ),
    Operator(
        "constant", "one bit of a constant the other way round",
        "a bit that is not set, or should not be", _constants,
    ),
    Operator(
        "target", "a branch to the instruction before its target or after it",
        "a label in the wrong line", _targets,
    ),
    Operator(
        "condition", "another condition, and none", "a test the wrong way round or off by one",
        _conditions,
    ),
    Operator("flags", "flags left alone, or set", "a comparison that compares nothing", _flags),
    Operator("width", "32 bits of a register for 64", "an address cut off", _widths),
    Operator(
        "kind", "another instruction of the same class: a store for a load, SUB for ADD",
        "the wrong instruction", _kinds,
    ),
)  # fmt: skip
"""Operators on one word."""

REARRANGING: dict[str, tuple[str, str]] = {
    SWAP: ("two neighbours the other way round", "two steps in the wrong order"),
    MOVE: ("a system instruction up to four earlier or later", "a barrier in the wrong place"),
}
"""Operators on several words (rearranging), with what they do and what that models."""

ON_DATA: dict[str, tuple[str, str]] = {
    DataPlace.FIELD: ("another value in a word of struct kimage", "a field confused or forgotten"),
    DataPlace.ENTRY: (
        "an entry dropped, repeated, of another kind, a page off",
        "a wrong list",
    ),
    DataPlace.DESCRIPTOR: ("another attribute or address in a table", "a wrong map"),
}
"""Operators on what the code reads (data_edits)."""

OPERATOR_NAMES: tuple[str, ...] = (
    *(one.name for one in OPERATORS),
    *REARRANGING,
    *map(str, ON_DATA),
)
