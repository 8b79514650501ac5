"""The registers of the engine's CPU by architectural name, and the SP banks.

A write from outside does less than the instruction: PSTATE does not switch stacks nor renew
cached flags, and system registers leave the TLB as it was. Both are made good here.
Measured against unicorn 2.1.4; registers are those of ARM DDI 0487, D19.2.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

from unicorn import Uc
from unicorn import arm64_const as a64
from unicorn import unicorn_const as u
from unicorn.unicorn_py3.arch.arm64 import UcRegCP64
from unicorn.unicorn_py3.unicorn import uclib

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import (
    REGISTERS,
    register_key,
    register_name,
    split_key,
)
from relokit.runtime.arch.exceptions import PSTATE_DAIF, PSTATE_SPSEL

_X = (
    *range(a64.UC_ARM64_REG_X0, a64.UC_ARM64_REG_X0 + 29),
    a64.UC_ARM64_REG_X29,
    a64.UC_ARM64_REG_X30,
)
_X_IDS = (ctypes.c_int * len(_X))(*_X)
_PC, _SP, _PSTATE, _CP = (
    a64.UC_ARM64_REG_PC,
    a64.UC_ARM64_REG_SP,
    a64.UC_ARM64_REG_PSTATE,
    a64.UC_ARM64_REG_CP_REG,
)
_SP_BANKS = ("SP_EL0", "SP_EL1", "SP_EL2")

# Writing one of these from outside leaves stale entries in the engine's TLB.
_TRANSLATION = frozenset(
    REGISTERS[f"{name}_EL{el}"]
    for el in (1, 2)
    for name in ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR")
) | {REGISTERS[name] for name in ("HCR_EL2", "VTTBR_EL2", "VTCR_EL2", "SCR_EL3")}

# Otherwise the engine answers 0 for a register it lacks, with a line on stderr each time.
os.environ.setdefault("UC_IGNORE_REG_BREAK", "1")


class Registers:
    """Register access to one engine. Values are unsigned 64-bit, addresses VAs as the guest has
    them.
    """

    def __init__(self, uc: Uc) -> None:
        self.uc = uc
        # The engine's own reg_read looks for the kind of a register each time: five times as slow.
        self._handle = uc._uch
        self._x_values = (ctypes.c_uint64 * len(_X))()
        first = ctypes.addressof(self._x_values)
        self._x_pointers = (ctypes.c_void_p * len(_X))(*(first + 8 * n for n in range(len(_X))))
        self._absent: dict[int, int] = {}
        # One question that is filled in anew each time: to make one takes longer than to ask it.
        self._cp_bytes = bytearray(ctypes.sizeof(UcRegCP64))
        self._cp = UcRegCP64.from_buffer(self._cp_bytes)
        self._cp_pointer = ctypes.byref(self._cp)

    def read(self, name: str) -> int:
        """A system register by architectural name, never redirected; KeyError if unknown.

        Raises MachineError if this CPU does not have it.
        """
        return self.read_key(register_key(name), name)

    def write(self, name: str, value: int) -> None:
        """Write a system register; what the engine caches of it is renewed."""
        self.write_key(register_key(name), value, name)

    def x(self, number: int) -> int:
        """General register x0..x30."""
        return self._read(_X[number])

    def set_x(self, number: int, value: int) -> None:
        """Set general register x0..x30."""
        self._write(_X[number], value)

    @property
    def registers(self) -> tuple[int, ...]:
        """x0..x30."""
        uclib.uc_reg_read_batch(self._handle, _X_IDS, self._x_pointers, len(_X))
        return tuple(self._x_values)

    @property
    def pc(self) -> int:
        """Program counter."""
        return self._read(_PC)

    def set_pc(self, value: int) -> None:
        """Set the program counter; from a hook, the run goes on there."""
        self._write(_PC, value)

    @property
    def pstate(self) -> int:
        """PSTATE as SPSR would hold it."""
        return self._read(_PSTATE)

    @property
    def el(self) -> int:
        """Exception level."""
        return self.pstate >> 2 & 3

    @property
    def sp(self) -> int:
        """The stack pointer in use."""
        return self._read(_SP)

    def set_sp(self, value: int) -> None:
        """Set the stack pointer in use."""
        self._write(_SP, value)

    def set_pstate(self, pstate: int) -> None:
        """Change PSTATE, exception level included; the SP bank follows."""
        old, new = _bank(self.pstate), _bank(pstate)
        if old != new:
            self.write(_SP_BANKS[old], self.sp)
        self._write(_PSTATE, pstate)
        if old != new:
            self.set_sp(self.read(_SP_BANKS[new]))
        # A PSTATE write leaves the engine's cached flags as they were; any write of a system
        # register rebuilds them.
        self.write("SP_EL0", self.read("SP_EL0"))

    def set_el(self, el: int) -> None:
        """Put the CPU at ``el`` 0..2, using SP_ELx, DAIF masked."""
        spsel = PSTATE_SPSEL if el else 0
        self.set_pstate(PSTATE_DAIF | el << 2 | spsel)

    def add_registers(self, registers: dict[str, int]) -> None:
        """Give the CPU system registers that the engine lacks, by name and reset value.

        They only remember what is written.
        """
        self._absent |= {register_key(name): value for name, value in registers.items()}

    def flush_tlb(self) -> None:
        """Drop every TLB entry the engine holds."""
        self.uc.ctl(u.UC_CTL_TLB_FLUSH, u.UC_CTL_IO_WRITE)

    def read_key(self, key: int, name: str = "") -> int:
        """As :meth:`read`, by 16-bit encoding."""
        if key in self._absent:
            return self._absent[key]
        self._cp_bytes[:] = _question(key)
        if uclib.uc_reg_read(self._handle, _CP, self._cp_pointer) != u.UC_ERR_OK:
            raise self._lacks(key, name)
        return int(self._cp.val)

    def values(self, keys: tuple[int, ...]) -> tuple[int, ...]:
        """System registers by 16-bit encoding, all of which this CPU has, at once."""
        ids, asked, pointers = _questions(keys)
        if uclib.uc_reg_read_batch(self._handle, ids, pointers, len(keys)) != u.UC_ERR_OK:
            raise MachineError("this CPU does not have all of these registers")
        return tuple(one.val for one in asked)

    def value(self, key: int) -> int:
        """A system register by 16-bit encoding, 0 if the engine does not have it."""
        self._cp_bytes[:] = _question(key)
        found = uclib.uc_reg_read(self._handle, _CP, self._cp_pointer) == u.UC_ERR_OK
        return int(self._cp.val) if found else 0

    def has(self, key: int) -> bool:
        """Whether the engine has the system register with this 16-bit encoding."""
        self._cp_bytes[:] = _question(key)
        return bool(uclib.uc_reg_read(self._handle, _CP, self._cp_pointer) == u.UC_ERR_OK)

    def write_key(self, key: int, value: int, name: str = "") -> None:
        """As :meth:`write`, by 16-bit encoding."""
        if key in self._absent:
            self._absent[key] = value & MASK64
            return
        self._cp_bytes[:] = _question(key)
        self._cp.val = value & MASK64
        if uclib.uc_reg_write(self._handle, _CP, self._cp_pointer) != u.UC_ERR_OK:
            raise self._lacks(key, name)
        if key in _TRANSLATION:
            self.flush_tlb()

    def _read(self, register: int) -> int:
        value = ctypes.c_uint64()
        uclib.uc_reg_read(self._handle, register, ctypes.byref(value))
        return value.value

    def _write(self, register: int, value: int) -> None:
        given = ctypes.c_uint64(value & MASK64)
        uclib.uc_reg_write(self._handle, register, ctypes.byref(given))

    @staticmethod
    def _lacks(key: int, name: str) -> MachineError:
        return MachineError(
            f"this CPU has no {name or register_name(key)}", hint="the model 'max' has VHE"
        )


@cache
def _question(key: int) -> bytes:
    """The bytes by which the engine is asked for a system register; there are 65,536 at most."""
    op0, op1, crn, crm, op2 = split_key(key)
    return bytes(UcRegCP64(crn, crm, op0, op1, op2, 0))


@cache
def _questions(keys: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """The same for many: identifiers, questions, and pointers to these."""
    count, size = len(keys), ctypes.sizeof(UcRegCP64)
    asked = (UcRegCP64 * count).from_buffer_copy(b"".join(map(_question, keys)))
    first = ctypes.addressof(asked)
    pointers = (ctypes.c_void_p * count)(*(first + size * number for number in range(count)))
    return (ctypes.c_int * count)(*[_CP] * count), asked, pointers


def _bank(pstate: int) -> int:
    """Which SP_ELx a PSTATE selects."""
    return pstate >> 2 & 3 if pstate & PSTATE_SPSEL else 0
