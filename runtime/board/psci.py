"""Firmware as QEMU's board has it: PSCI by SMC or HVC, for one CPU.

Sources: ARM DEN 0022 (PSCI, chapter 5), ARM DEN 0028 (SMCCC).
"""

from __future__ import annotations

from relokit.codegen.base.bits import MASK64
from relokit.codegen.facts import (
    PSCI_64_BIT,
    PSCI_CPU_OFF,
    PSCI_CPU_ON,
    PSCI_CPU_SUSPEND,
    PSCI_SYSTEM_OFF,
)
from relokit.runtime.arch.exceptions import ExceptionClass, ExceptionEvent
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.stop import StopReason

_MASK32 = (1 << 32) - 1
_AFFINITY = 0xFF_FFFF
"""MPIDR_EL1: Aff0 to Aff2; the only CPU has 0 in all."""
_POWERS_DOWN = 1 << 16
"""power_state: StateType."""


class Psci:
    """PSCI 1.1 firmware behind ``smc`` or ``hvc``: one CPU, power-off and reset end the run."""

    VERSION = 0x8400_0000
    CPU_SUSPEND = PSCI_CPU_SUSPEND
    CPU_OFF = PSCI_CPU_OFF
    AFFINITY_INFO = 0x8400_0004
    MIGRATE_INFO_TYPE = 0x8400_0006
    SYSTEM_OFF = PSCI_SYSTEM_OFF
    SYSTEM_RESET = 0x8400_0009
    FEATURES = 0x8400_000A
    CPU_ON = PSCI_CPU_ON
    SMCCC_VERSION = 0x8000_0000
    _CALL_64 = PSCI_64_BIT
    _NOT_SUPPORTED, _INVALID_PARAMETERS, _ALREADY_ON = -1, -2, -4
    _KNOWN = frozenset(
        {
            VERSION,
            CPU_SUSPEND,
            CPU_OFF,
            CPU_ON,
            AFFINITY_INFO,
            MIGRATE_INFO_TYPE,
            SYSTEM_OFF,
            SYSTEM_RESET,
            FEATURES,
            SMCCC_VERSION,
        }
    )

    def __init__(self, conduit: str = "smc") -> None:
        self.conduit = conduit
        wanted = {"smc": ExceptionClass.SMC64, "hvc": ExceptionClass.HVC64}
        self._class = wanted[conduit]

    def __call__(self, cpu: Cpu, event: ExceptionEvent) -> bool:
        """Take the call if it came by this conduit: the result is in x0 (SMCCC)."""
        if event.exception_class != self._class:
            return False
        function = cpu.x(0) & _MASK32
        if function == self.SYSTEM_OFF:
            cpu.stop(StopReason.POWERED_OFF, "PSCI SYSTEM_OFF")
        elif function == self.SYSTEM_RESET:
            cpu.stop(StopReason.POWERED_OFF, "PSCI SYSTEM_RESET")
        elif function == self.CPU_OFF:
            cpu.stop(StopReason.POWERED_OFF, "PSCI CPU_OFF of the only CPU")
        else:
            cpu.set_x(0, self._answer(function, cpu.x(1) & _MASK32) & MASK64)
        return True

    def _answer(self, function: int, argument: int) -> int:
        match function & ~self._CALL_64:
            case self.VERSION | self.SMCCC_VERSION:
                return 1 << 16 | 1
            case self.MIGRATE_INFO_TYPE:
                return 2  # no migration needed
            case self.AFFINITY_INFO if not argument & _AFFINITY:
                return 0  # on
            case self.CPU_ON if not argument & _AFFINITY:
                return self._ALREADY_ON
            case self.AFFINITY_INFO | self.CPU_ON:
                return self._INVALID_PARAMETERS  # there is no such CPU
            case self.CPU_SUSPEND:
                # A state that keeps everything and is woken up at once.
                return self._INVALID_PARAMETERS if argument & _POWERS_DOWN else 0
            case self.FEATURES if argument & ~self._CALL_64 in self._KNOWN:
                return 0
        return self._NOT_SUPPORTED
