"""The devices a kernel meets early: a PL011 console, a quiet GICv3, PSCI firmware.

Addresses are those of QEMU's ``virt`` machine. Sources: ARM DDI 0183 (PL011, chapter 3),
ARM IHI 0069 (GICv3, chapter 12), ARM DEN 0022 (PSCI, chapter 5), ARM DEN 0028 (SMCCC). No
interrupt is ever raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

_MASK32 = (1 << 32) - 1


class Screen:
    """What a guest prints: the first of it and the last, however much it is.

    The first ``limit`` bytes are kept, if they are no more than ``lines`` lines, and the LAST ones;
    what is between is counted in ``dropped``. ``found`` is called when ``expected`` is printed.
    """

    LIMIT, LINES, LAST = 1 << 20, 1 << 14, 4096

    def __init__(
        self,
        expected: str | None = None,
        found: Callable[[], None] | None = None,
        *,
        limit: int = LIMIT,
        lines: int = LINES,
    ) -> None:
        self._left, self._lines_left = limit, lines
        self._first, self._last = bytearray(), bytearray()
        self._beyond = self._shown = 0
        self._expected = (expected or "").encode()
        self._found = found
        self._recent = bytearray()

    def put(self, byte: int) -> None:
        """Print one more."""
        if self._left:
            self._first.append(byte)
            self._left -= 1
            if byte == _NEWLINE:
                self._lines_left -= 1
                if not self._lines_left:
                    self._left = 0
        else:
            self._last.append(byte)
            self._beyond += 1
            if len(self._last) > 2 * self.LAST:
                del self._last[: -self.LAST]
        if self._expected:
            self._look_for(byte)

    def _look_for(self, byte: int) -> None:
        recent, expected = self._recent, self._expected
        recent.append(byte)
        if recent.endswith(expected) and self._found:
            self._expected = b""
            self._found()
        elif len(recent) > 2 * len(expected):
            del recent[: -len(expected)]

    @property
    def dropped(self) -> int:
        """Bytes that are not kept."""
        return max(self._beyond - self.LAST, 0)

    @property
    def text(self) -> str:
        """What is kept, undecodable bytes replaced; a line says what is missing."""
        last = bytes(self._last[-self.LAST :])
        missing = f"\n[{self.dropped:,} bytes more]\n".encode() if self.dropped else b""
        return (bytes(self._first) + missing + last).decode("utf-8", "replace")

    def more(self) -> str:
        """Whole lines that were printed since this was asked before, of the first that are kept."""
        end = self._first.rfind(b"\n") + 1
        lines = bytes(self._first[self._shown : end])
        self._shown = max(end, self._shown)
        return lines.decode("utf-8", "replace")

    def rest(self) -> str:
        """All of ``text`` that ``more`` has not given."""
        shown = bytes(self._first[: self._shown]).decode("utf-8", "replace")
        return self.text[len(shown) :]


_NEWLINE = ord("\n")


class Device(Protocol):
    """Registers at physical addresses. Offsets and sizes in bytes."""

    base: int
    size: int

    def read(self, offset: int, size: int) -> int:
        """Value of a load."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Effect of a store."""


class Pl011:
    """A UART whose transmitter is always ready and whose receiver is empty; ``screen`` prints."""

    DATA, FLAGS = 0x00, 0x18
    _TX_EMPTY_RX_EMPTY = 1 << 7 | 1 << 4
    _READ_ONLY = frozenset({FLAGS, 0x3C, 0x40})  # UARTFR, UARTRIS, UARTMIS
    # UARTCR and UARTIFLS at reset; UARTPeriphID0..3 and UARTPCellID0..3.
    _RESET: ClassVar[dict[int, int]] = {0x30: 0x300, 0x34: 0x12} | {
        0xFE0 + 4 * index: byte
        for index, byte in enumerate((0x11, 0x10, 0x14, 0x00, 0x0D, 0xF0, 0x05, 0xB1))
    }

    def __init__(
        self, base: int = UART_BASE, size: int = UART_WINDOW, *, screen: Screen | None = None
    ) -> None:
        self.base = base
        self.size = size
        self.screen = screen or Screen()
        self._registers = dict(self._RESET)

    def read(self, offset: int, size: int) -> int:
        """Value of a register; unused offsets read as zero."""
        if offset == self.FLAGS:
            return self._TX_EMPTY_RX_EMPTY
        return self._registers.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Print (UARTDR), or keep the value so that it reads back."""
        if offset == self.DATA:
            self.screen.put(value & 0xFF)
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
    "ICC_IAR0_EL1": 1023,
    "ICC_EOIR0_EL1": 0,
    "ICC_HPPIR0_EL1": 1023,
    "ICC_HPPIR1_EL1": 1023,
    "ICH_HCR_EL2": 0,
    "ICH_VTR_EL2": 4 << 29 | 4 << 26 | 3,
    "ICH_VMCR_EL2": 0,
    "ICH_MISR_EL2": 0,
    "S3_4_C12_C11_3": 0,  # ICH_EISR_EL2
    "S3_4_C12_C11_5": 0xF,  # ICH_ELRSR_EL2: no list register is in use
    "S3_4_C12_C8_0": 0,  # ICH_AP0R0_EL2
    "S3_4_C12_C9_0": 0,  # ICH_AP1R0_EL2
    **{f"S3_4_C12_C12_{number}": 0 for number in range(4)},  # ICH_LR0_EL2 to ICH_LR3_EL2
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
