"""What an instruction reads and writes: general registers, SP, flags, system registers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from functools import cache
from typing import Any

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import BARRIER, DSB_NXS, EXCEPTION, HINT
from relokit.codegen.system_registers import REGISTERS, register_name

SP, FLAGS = 31, 32
"""Numbers of what is read and written, beside x0 to x30."""
ARGUMENTS = 8
"""x0 to x7 are what is given to whom is called (AAPCS64, 6.4)."""
SYSTEM = 1 << 16
"""And the encoding of a system register, with this bit set."""
_XZR = 31
# ARM DDI 0487, C4.1.94: branches, exception generating and system instructions.
_SYSTEM_MASK, _SYSTEM = 0xFFC0_0000, 0xD500_0000
_HVC_MASK, _HVC = 0xFFE0_001F, 0xD400_0002
_ERET = 0xD69F_03E0
_RET, _LINK = 0xD65F_03C0, 30
_DSB, _ISB = 0b100, 0b110
"""op2 of a barrier."""
_READS = 1 << 21
_B_COND = 0x54
_JUMPS = frozenset({"br", "blr", "ret"})
_NOWHERE = frozenset({"xzr", "wzr"})
_COMPARES = frozenset({"cmp", "cmn", "tst", "ccmp", "ccmn"})


class Effect(Enum):
    """What an instruction is for, beside what it reads and writes."""

    UNKNOWN = auto()
    NONE = auto()
    """It writes to XZR."""
    HINT = auto()
    """NOP and its kin, which have no effect on purpose."""
    REGISTERS = auto()
    """It sets general registers or flags."""
    BRANCH = auto()
    MEMORY = auto()
    """A load, a store, a prefetch."""
    MAINTENANCE = auto()
    """DC, IC, TLBI, AT."""
    SYSTEM = auto()
    """MSR."""
    DSB = auto()
    ISB = auto()
    BARRIER = auto()
    """DMB, CLREX and their kin."""
    LEAVES = auto()
    """It raises an exception, or returns from one."""


@dataclass(frozen=True, slots=True)
class RegisterUse:
    """Numbers of what an instruction reads and writes; XZR is left out. ``address`` are those that
    its address or its target is made of. ``target`` is that of a direct branch, as a distance in
    bytes, and ``decides`` whether it may be taken or not.
    """

    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    address: frozenset[int] = frozenset()
    target: int | None = None
    decides: bool = False
    stores: bool = False
    ends: bool = False
    """Whether what is behind it is not the next, unless something comes back."""
    effect: Effect = Effect.UNKNOWN
    goes_on: bool = False
    """Whether it puts in another part of a constant: MOVK."""
    cuts: bool = False
    """Whether it makes 32 bits of registers: an address that goes through it is cut."""


def system_register(name: str) -> int:
    """The number of the system register ``name``."""
    return SYSTEM | REGISTERS[name]


def name_of(number: int) -> str:
    """How what has ``number`` is called."""
    if number & SYSTEM:
        return register_name(number ^ SYSTEM)
    return {SP: "sp", FLAGS: "NZCV"}.get(number, f"x{number}")


@cache
def use_of(word: int) -> RegisterUse:
    """What the instruction ``word`` does."""
    if word & _SYSTEM_MASK == _SYSTEM:
        return _system(word)
    if word & _HVC_MASK == _HVC:
        called = frozenset({system_register("VBAR_EL2")})
        back = frozenset({system_register("ELR_EL2"), system_register("SPSR_EL2")})
        return RegisterUse(called, back, ends=True, effect=Effect.LEAVES)
    if word == _ERET:
        names = (f"{name}_EL{el}" for name in ("ELR", "SPSR") for el in (1, 2))
        reads = frozenset(system_register(name) for name in names)
        return RegisterUse(reads, ends=True, effect=Effect.LEAVES)
    engine, arm64 = _capstone()
    for instruction in engine.disasm(word.to_bytes(4, "little"), 0):
        reads, writes = instruction.regs_access()
        made_of: set[int] = set()
        jumps = instruction.mnemonic in _JUMPS
        for operand in instruction.operands:
            if operand.type == arm64.ARM64_OP_MEM:
                made_of |= {operand.mem.base, operand.mem.index}
            elif operand.type == arm64.ARM64_OP_REG and jumps:
                made_of.add(operand.reg)
        target, decides = _branch(word)
        # Capstone has RET without an operand read nothing.
        implied = frozenset({_LINK} if word == _RET else ())
        read, written = _numbers(engine, reads), _numbers(engine, writes)
        written_names = {engine.reg_name(one) for one in writes}
        if decides and word >> 24 != _B_COND:
            # CBZ and TBZ; Capstone has them read flags.
            read -= {FLAGS}
        if instruction.mnemonic in _COMPARES:
            # Capstone has them write what they compare.
            read |= written - {FLAGS}
            written &= {FLAGS}
        return RegisterUse(
            read | implied,
            written,
            _numbers(engine, made_of) | implied,
            target=target,
            decides=decides,
            stores=instruction.mnemonic.startswith("st"),
            ends=jumps or (target is not None and not decides),
            effect=_effect(instruction, written_names, jumps or target is not None, arm64),
            goes_on=instruction.mnemonic == "movk",
            cuts=bool(read) and any(name[0] == "w" for name in written_names),
        )
    return RegisterUse()


def _effect(instruction: Any, written: set[str], branches: bool, arm64: Any) -> Effect:
    if EXCEPTION.holds(int.from_bytes(instruction.bytes, "little")):
        return Effect.LEAVES
    if branches:
        return Effect.BRANCH
    if written & _NOWHERE and "nzcv" not in written:
        return Effect.NONE
    if any(one.type == arm64.ARM64_OP_MEM for one in instruction.operands):
        return Effect.MEMORY
    return Effect.REGISTERS


def _system(word: int) -> RegisterUse:
    """MSR, MRS, SYS, and those without registers."""
    op0, key, register = word >> 19 & 3, word >> 5 & 0xFFFF, word & 31
    general = frozenset({register}) - {_XZR}
    if op0 == 1:
        return RegisterUse(general, address=general, effect=Effect.MAINTENANCE)
    if op0 == 0:
        # A hint, a barrier, or MSR (immediate) to a field of PSTATE.
        field = word >> 12 & 15 == 4 and register == _XZR
        daif = frozenset({system_register("DAIF")}) if field else frozenset[int]()
        return RegisterUse(writes=daif, effect=Effect.SYSTEM if field else _barrier(word))
    system = frozenset({SYSTEM | key})
    if word & _READS:
        return RegisterUse(system, general, effect=Effect.REGISTERS if general else Effect.NONE)
    return RegisterUse(general, system, effect=Effect.SYSTEM)


def _barrier(word: int) -> Effect:
    if HINT.holds(word):
        return Effect.HINT
    if not BARRIER.holds(word):
        return Effect.UNKNOWN
    completes = DSB_NXS.holds(word) or word >> 5 & 7 == _DSB
    return Effect.DSB if completes else Effect.ISB if word >> 5 & 7 == _ISB else Effect.BARRIER


def _branch(word: int) -> tuple[int | None, bool]:
    """The distance of a direct branch, and whether it has a condition (DDI 0487, C4.1.94)."""
    if word >> 26 & 0x1F == 0b00101:
        return _signed(word & 0x3FF_FFFF, 26), False
    if word >> 24 in (_B_COND, 0x34, 0x35, 0xB4, 0xB5):
        return _signed(word >> 5 & 0x7_FFFF, 19), True
    if word >> 24 in (0x36, 0x37, 0xB6, 0xB7):
        return _signed(word >> 5 & 0x3FFF, 14), True
    return None, False


def _signed(value: int, bits: int) -> int:
    return 4 * (value - (1 << bits) if value >> (bits - 1) else value)


def _numbers(engine: Any, registers: Iterable[int]) -> frozenset[int]:
    names = (engine.reg_name(register) if register else None for register in registers)
    return frozenset(number for name in names if (number := _number(name)) is not None)


def _number(name: str | None) -> int | None:
    if name and name[0] in "wx" and name[1:].isdigit():
        return int(name[1:])
    return {"fp": 29, "lr": 30, "sp": SP, "wsp": SP, "nzcv": FLAGS}.get(name or "")


@cache
def _capstone() -> tuple[Any, Any]:
    import capstone
    from capstone import arm64

    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    engine.detail = True
    return engine, arm64
