"""MRS and MSR where the engine does not do what the architecture says.

Under E2H at EL2 it answers an EL1 or ``_EL02`` name from the wrong register and takes an ``_EL12``
name for UNDEF; the GIC's registers it lacks; its cache line is the model's, its clocks are the
host's. Which name reaches
which register is in :mod:`relokit.runtime.arch.redirection`. Measured against unicorn 2.1.4.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
from unicorn import UcError
from unicorn.unicorn_py3.arch.arm64 import HOOK_INSN_SYS_CFUNC, UcRegCP64

from relokit.codegen.base import native
from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import REGISTERS, decode_system
from relokit.runtime.arch import redirection
from relokit.runtime.engine import clock, native_hooks
from relokit.runtime.engine.clock import Clock
from relokit.runtime.engine.mmu import Mmu
from relokit.runtime.engine.registers import Registers
from relokit.runtime.record.stop import StopReason

_HCR = REGISTERS["HCR_EL2"]
_XZR = 31
_WRONG = {key: to for key, to in redirection.TO_EL2.items() if to not in clock.TIMERS}
"""What the engine answers from the wrong register under E2H, but for timers (timers.c)."""
_REDIRECTED = [(key, target, 0) for key, target in _WRONG.items()]
ANSWER_WORDS, ANSWER_ROWS, _HAS_VALUE = 3, 96, 0x10000
"""Words of a row of answers, how many rows there may be, and the target of one with a value."""
native.check_shared(
    native.library(),
    "answers_shared",
    {
        "ANSWER_WORDS": ANSWER_WORDS,
        "ANSWER_ROWS": ANSWER_ROWS,
        "ANSWER_VALUES": _HAS_VALUE,
    },
)
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
        self._time = time
        self._stop = stop
        self.undefined: Counter[str] = Counter()
        self._fixed = {REGISTERS[name]: value for name, value in answers.items()}
        if cache_line is not None:
            self._fixed[REGISTERS["CTR_EL0"]] = _with_line(registers.read("CTR_EL0"), cache_line)
        # The engine keeps the address of it.
        self._handler = HOOK_INSN_SYS_CFUNC(self._guarded(self._on_mrs))
        self._timed = _timed.get(model) or frozenset(filter(registers.has, clock.READ))
        _timed[model] = self._timed
        self._redirected = bool(registers.read("ID_AA64MMFR1_EL1") >> 8 & 0xF)  # VHE
        self._answers = np.zeros(1 + ANSWER_WORDS * ANSWER_ROWS, np.uint64)
        self._fill_in()
        mmu.filter_system(native_hooks.new_filter(self._timed, self._handler), self._answers)

    def _fill_in(self) -> None:
        """The rows of answers.c: registers that reach another, or have a value of their own."""
        rows = [(key, _HAS_VALUE, value) for key, value in self._fixed.items()]
        if self._redirected:
            rows += _REDIRECTED
        self._answers[0] = len(rows)
        self._answers[1 : 1 + ANSWER_WORDS * len(rows)] = np.array(rows, np.uint64).reshape(-1)

    def answer(self, answers: Mapping[str, int]) -> None:
        """Have these registers, by name, read so from now on."""
        self._fixed |= {REGISTERS[name]: value for name, value in answers.items()}
        self._fill_in()

    def seen(self, name: str) -> int:
        """The register ``name`` as an MRS reads it, but for redirection."""
        key = REGISTERS[name]
        fixed = self._fixed.get(key)
        return self._registers.read_key(key, name) if fixed is None else fixed

    def emulate(self, word: int, added: Container[int]) -> bool:
        """Carry out the instruction ``word`` that the engine took for UNDEF, if it is not.

        That is an ``_EL12`` name under E2H, or a register whose encoding is in
        ``added``; any other is counted in ``undefined``. Returns whether it was carried out; the PC
        stays where it is.
        """
        decoded = decode_system(word)
        if decoded is None or decoded.form not in ("mrs", "msr") or not self._registers.el:
            return False
        target = redirection.TO_EL1.get(decoded.key)
        if target is not None:
            if not self._is_redirecting():
                target = None
        elif decoded.key in added:
            target = decoded.key
        if target is None:
            # There are 65,536 at most.
            self.undefined[decoded.name] += 1
            return False
        registers = self._registers
        if decoded.form == "msr":
            registers.write_key(target, 0 if decoded.rt == _XZR else registers.x(decoded.rt))
        else:
            value = registers.read_key(target)
            if decoded.rt != _XZR:
                registers.set_x(decoded.rt, value)
        return True

    def _is_redirecting(self) -> bool:
        return redirection.is_redirecting(self._registers.read_key(_HCR), self._registers.el)

    def _on_mrs(self, register: int, access: UcRegCP64) -> int:
        key = _key_of(access)
        # Where it is trapped, the engine does that.
        if not self._time.allows(key):
            return 0
        self._registers.uc.reg_write(register, self._time.read(key))
        return 1

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
