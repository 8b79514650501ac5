"""MRS and MSR where the engine does not do what the architecture says.

Under E2H at EL2 it answers an EL1 or ``_EL02`` name from the wrong register and takes an ``_EL12``
name for UNDEF; the GIC's registers it lacks; its cache line is the model's, its clocks are the
host's. Which name reaches
which register is in :mod:`relokit.runtime.arch.redirection`. Measured against unicorn 2.1.4.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Container, Mapping
from typing import Any

from unicorn import UcError
from unicorn.unicorn_py3.arch.arm64 import HOOK_INSN_SYS_CFUNC, UcRegCP64

from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import REGISTERS, decode_system, register_name
from relokit.runtime.arch import redirection
from relokit.runtime.engine import clock, native_hooks
from relokit.runtime.engine.clock import Clock
from relokit.runtime.engine.mmu import Mmu
from relokit.runtime.engine.registers import Registers
from relokit.runtime.record.stop import StopReason

_HCR = REGISTERS["HCR_EL2"]
_XZR = 31
_WRONG = redirection.TO_EL2 | {
    key: to for key, to in redirection.TO_EL1.items() if register_name(key).endswith("_EL02")
}
"""What the engine answers from the wrong register under E2H; it knows the timers' other names."""
_LARGEST_GRANULE = 9
"""Log2 of the words that an exclusive access may reserve, at most (D24.2, CTR_EL0.ERG)."""


_timed: dict[str, frozenset[int]] = {}
"""Registers of the clock that a CPU model has; to ask the engine for each takes a while."""


class SystemAccess:
    """Hooks on the MRS and MSR of the engine behind ``registers``, a CPU of ``model``; must live as
    long as it does.

    ``cache_line`` in bytes is what CTR_EL0 shows of data, the model's own if None; MachineError if
    it cannot say that. ``answers`` are other registers that do not read as the model has them, by
    name; ``time`` has those that follow it. ``stop`` is called when an access cannot be carried
    out.
    """

    def __init__(
        self,
        registers: Registers,
        model: str,
        mmu: Mmu,
        cache_line: int | None,
        answers: Mapping[str, int],
        time: Clock,
        stop: Callable[[StopReason, str], None],
    ) -> None:
        self._registers = registers
        self._time, self._mmu = time, mmu
        self._stop = stop
        self._fixed = {REGISTERS[name]: value for name, value in answers.items()}
        if cache_line is not None:
            self._fixed[REGISTERS["CTR_EL0"]] = _with_line(registers.read("CTR_EL0"), cache_line)
        redirected = frozenset[int]()
        if registers.read("ID_AA64MMFR1_EL1") >> 8 & 0xF:  # VHE
            redirected |= _WRONG.keys()
        # The engine keeps the address of these.
        self._handlers = [
            HOOK_INSN_SYS_CFUNC(self._guarded(self._on_mrs)),
            HOOK_INSN_SYS_CFUNC(self._guarded(self._on_msr)),
        ]
        self._timed = _timed.get(model) or frozenset(filter(registers.has, clock.READ))
        _timed[model] = self._timed
        reads, writes = (
            native_hooks.new_filter(keys | redirected, handler)
            for keys, handler in zip(
                (self._timed | self._fixed.keys(), frozenset[int]()),
                self._handlers,
                strict=True,
            )
        )
        mmu.filter_system(reads, writes)

    def seen(self, name: str) -> int:
        """The register ``name`` as an MRS reads it, but for redirection."""
        key = REGISTERS[name]
        fixed = self._fixed.get(key)
        return self._registers.read_key(key, name) if fixed is None else fixed

    def emulate(self, word: int, added: Container[int]) -> bool:
        """Carry out the instruction ``word`` that the engine took for UNDEF, if it is not.

        That is an ``_EL12`` name under E2H, or a register whose encoding is in
        ``added``. Returns whether it was carried out; the PC stays where it is.
        """
        decoded = decode_system(word)
        if decoded is None or decoded.form not in ("mrs", "msr") or not self._registers.el:
            return False
        target = redirection.TO_EL1.get(decoded.key)
        if target is not None:
            if not self._is_redirecting():
                return False
        elif decoded.key in added:
            target = decoded.key
        else:
            return False
        registers = self._registers
        if decoded.form == "msr":
            self._write(target, 0 if decoded.rt == _XZR else registers.x(decoded.rt))
        else:
            value = self._read(target)
            if decoded.rt != _XZR:
                registers.set_x(decoded.rt, value)
        return True

    def _read(self, key: int) -> int:
        if key in clock.TIMERS:
            return self._mmu.read_timer(key)
        return self._time.read(key) if key in clock.READ else self._registers.read_key(key)

    def _write(self, key: int, value: int) -> None:
        if key in clock.TIMERS:
            self._mmu.write_timer(key, value)
        else:
            self._registers.write_key(key, value)

    def _is_redirecting(self) -> bool:
        return redirection.is_redirecting(self._registers.read_key(_HCR), self._registers.el)

    def _on_mrs(self, register: int, access: UcRegCP64) -> int:
        key = _key_of(access)
        value = self._fixed.get(key)
        if value is None:
            target = self._target(key)
            if target is None:
                return 0
            value = self._read(target)
        self._registers.uc.reg_write(register, value)
        return 1

    def _on_msr(self, _register: int, access: UcRegCP64) -> int:
        target = self._target(_key_of(access))
        if target is None:
            return 0
        self._write(target, access.val)
        return 1

    def _target(self, key: int) -> int | None:
        """The register that ``key`` reaches, unless the engine has it right by itself."""
        target = _WRONG.get(key)
        if target is not None and self._is_redirecting():
            return target
        # Where it is trapped, the engine does that.
        return key if key in self._timed and self._time.allows(key) else None

    def _guarded(self, handler: Callable[[int, UcRegCP64], int]) -> Callable[..., int]:
        """Nothing may be raised through the engine's frames: turn it into a stop."""

        def call(_uc: Any, register: int, access: Any, _data: Any) -> int:
            try:
                return handler(register, ctypes.cast(access, ctypes.POINTER(UcRegCP64)).contents)
            except (UcError, MachineError, KeyError) as error:
                self._stop(StopReason.ENGINE, f"system register access: {error}")
                return 1

        return call


def _with_line(ctr: int, line: int) -> int:
    """CTR_EL0 with DminLine of ``line`` bytes, of another number as IminLine, and 2 KiB as ERG.

    So that who takes the one for the other, or a bit of it beside, is seen to be wrong.
    """
    if line < 16 or line > 2048 or line & line - 1:
        raise MachineError(
            f"no {line}-byte cache line", hint="CTR_EL0 allows powers of two, 16 to 2048"
        )
    words = (line // 4).bit_length() - 1
    instructions = words + 1 if line < 2048 else words - 1
    return ctr & ~0xFF000F | _LARGEST_GRANULE << 20 | words << 16 | instructions


def _key_of(access: UcRegCP64) -> int:
    return int(access.op0 << 14 | access.op1 << 11 | access.crn << 7 | access.crm << 3 | access.op2)
