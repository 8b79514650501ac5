"""The devices a kernel meets early: a PL011 console, a quiet GICv3, PSCI firmware.

Addresses are those of QEMU's ``virt`` machine. Sources: ARM DDI 0183 (PL011, chapter 3),
ARM IHI 0069 (GICv3, chapter 12), ARM DEN 0022 (PSCI, chapter 5), ARM DEN 0028 (SMCCC). No
interrupt is ever raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.codegen.facts import PSCI_64_BIT, PSCI_CPU_OFF, PSCI_CPU_ON, PSCI_SYSTEM_OFF
from relokit.codegen.virt_board import GIC_DISTRIBUTOR_BASE, GIC_REDISTRIBUTORS_BASE, UART_BASE
from relokit.runtime.arch.exceptions import ExceptionClass, ExceptionEvent
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.stop import StopReason

GIC_WINDOW = UART_BASE - GIC_DISTRIBUTOR_BASE
"""Bytes from the distributor to the UART: ITS and redistributors are there too."""
UART_WINDOW = 0x1_0000
"""Bytes of the largest page, which is what a kernel maps of it."""
CONSOLE_LIMIT = 1 << 20

_MASK32 = (1 << 32) - 1


class Device(Protocol):
    """Registers at physical addresses. Offsets and sizes in bytes."""

    base: int
    size: int

    def read(self, offset: int, size: int) -> int:
        """Value of a load."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Effect of a store."""


class Pl011:
    """A UART whose transmitter is always ready and whose receiver is empty.

    Output beyond ``limit`` bytes is counted in ``dropped`` and not kept.
    """

    DATA, FLAGS = 0x00, 0x18
    _TX_EMPTY_RX_EMPTY = 1 << 7 | 1 << 4
    _READ_ONLY = frozenset({FLAGS, 0x3C, 0x40})  # UARTFR, UARTRIS, UARTMIS
    # UARTCR and UARTIFLS at reset; UARTPeriphID0..3 and UARTPCellID0..3.
    _RESET: ClassVar[dict[int, int]] = {0x30: 0x300, 0x34: 0x12} | {
        0xFE0 + 4 * index: byte
        for index, byte in enumerate((0x11, 0x10, 0x14, 0x00, 0x0D, 0xF0, 0x05, 0xB1))
    }

    def __init__(
        self, base: int = UART_BASE, size: int = UART_WINDOW, *, limit: int = CONSOLE_LIMIT
    ) -> None:
        self.base = base
        self.size = size
        self.limit = limit
        self.output = bytearray()
        self.dropped = 0
        self._registers = dict(self._RESET)

    @property
    def text(self) -> str:
        """What was printed, undecodable bytes replaced."""
        return self.output.decode("utf-8", "replace")

    def read(self, offset: int, size: int) -> int:
        """Value of a register; unused offsets read as zero."""
        if offset == self.FLAGS:
            return self._TX_EMPTY_RX_EMPTY
        return self._registers.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Print (UARTDR), or keep the value so that it reads back."""
        if offset == self.DATA:
            if len(self.output) < self.limit:
                self.output.append(value & 0xFF)
            else:
                self.dropped += 1
        elif offset < 0x4C and offset not in self._READ_ONLY:
            self._registers[offset] = value & 0xFFFF


class Gicv3:
    """A distributor and one redistributor that identify themselves and stay silent."""

    _REDISTRIBUTOR = GIC_REDISTRIBUTORS_BASE - GIC_DISTRIBUTOR_BASE
    # Offsets from the window: GICD_TYPER (32 interrupts, 10 ID bits), GICD_PIDR2 and GICR_PIDR2
    # (architecture 3), GICR_TYPER (processor 0, last in its region).
    _FIXED: ClassVar[dict[int, int]] = {
        0x0004: 9 << 19,
        0xFFE8: 0x3B,
        _REDISTRIBUTOR + 0x0008: 1 << 4,
        _REDISTRIBUTOR + 0xFFE8: 0x3B,
    }
    # GICD_CTLR without RWP: what was written last is in force at once.
    _CONTROL, _CONTROL_BITS = 0x0000, 0x77

    def __init__(self, base: int = GIC_DISTRIBUTOR_BASE, size: int = GIC_WINDOW) -> None:
        self.base = base
        self.size = size
        self._control = 0

    def read(self, offset: int, size: int) -> int:
        """Value of an identification register or GICD_CTLR; anything else is zero."""
        if offset == self._CONTROL:
            return self._control
        return self._FIXED.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Only GICD_CTLR keeps what is written."""
        if offset == self._CONTROL:
            self._control = value & self._CONTROL_BITS


GIC_REGISTERS: dict[str, int] = {
    "ICC_SRE_EL1": 0b111,
    "ICC_SRE_EL2": 0b1111,
    "ICC_PMR_EL1": 0,
    "ICC_BPR0_EL1": 0,
    "ICC_BPR1_EL1": 0,
    "ICC_CTLR_EL1": 4 << 8,
    "ICC_IGRPEN0_EL1": 0,
    "ICC_IGRPEN1_EL1": 0,
    "ICC_AP0R0_EL1": 0,
    "ICC_AP1R0_EL1": 0,
    "ICC_IAR1_EL1": 1023,
    "ICC_EOIR1_EL1": 0,
    "ICC_DIR_EL1": 0,
    "ICC_SGI1R_EL1": 0,
    "ICC_RPR_EL1": 0xFF,
    "ICH_HCR_EL2": 0,
    "ICH_VTR_EL2": 4 << 29 | 4 << 26 | 3,
}
"""The GICv3 CPU interface, which the engine lacks: name and value at reset."""


class Psci:
    """PSCI 1.1 firmware behind ``smc`` or ``hvc``: one CPU, power-off and reset end the run."""

    VERSION = 0x8400_0000
    CPU_OFF = PSCI_CPU_OFF
    AFFINITY_INFO = 0x8400_0004
    MIGRATE_INFO_TYPE = 0x8400_0006
    SYSTEM_OFF = PSCI_SYSTEM_OFF
    SYSTEM_RESET = 0x8400_0009
    FEATURES = 0x8400_000A
    CPU_ON = PSCI_CPU_ON
    SMCCC_VERSION = 0x8000_0000
    _CALL_64 = PSCI_64_BIT
    _NOT_SUPPORTED, _ALREADY_ON = -1, -4
    _KNOWN = frozenset(
        {
            VERSION,
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
            case self.AFFINITY_INFO:
                return 0  # on
            case self.CPU_ON:
                return self._ALREADY_ON
            case self.FEATURES if argument & ~self._CALL_64 in self._KNOWN:
                return 0
        return self._NOT_SUPPORTED


def attach(cpu: Cpu, devices: Sequence[Device]) -> None:
    """Put ``devices`` on the CPU's bus. Bases and sizes are multiples of 64 KiB.

    Raises MachineError where there is RAM.
    """
    for device in devices:
        if any(
            low < device.base + device.size and device.base < low + size
            for low, size in cpu.memory.banks
        ):
            raise MachineError(
                f"there is RAM at PA {device.base:#x}, where a device of QEMU's board would be: no "
                "new kernel can run on",
                hint="leave --boot out, and give --kernel or --size: the demo kernel always runs "
                "on; or memory elsewhere (--memory-map)",
            )
        cpu.map_device(device.base, device.size, device.read, device.write)
