"""The board around one CPU: PL011 console, GICv3, the timers' interrupts, PSCI; all deterministic.

Addresses are those of QEMU's ``virt`` machine. What runs often is native code: gic.c, gic_cpu.c,
gic_mmio.c, pl011.c, and board.c, which has their time: it is the CPU's instructions, and goes on
while the CPU waits (docs/adr/0047).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from relokit.codegen.base import native
from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Regime
from relokit.codegen.virt_board import (
    GIC_DISTRIBUTOR_BASE,
    PCI_CONFIG_SPACES,
    QUIET_DEVICES,
    UART_BASE,
)
from relokit.runtime.arch.feature_id import ShownFeature
from relokit.runtime.board.gic_virtual import KEPT
from relokit.runtime.board.psci import Psci
from relokit.runtime.board.screen import Screen
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.native_devices import NativeDevice

GIC_WINDOW = UART_BASE - GIC_DISTRIBUTOR_BASE
"""Bytes from the distributor to the UART: redistributors are there too."""
UART_WINDOW = 0x1_0000
"""Bytes of the largest page, which is what a kernel maps of it."""
CONSOLE_BYTES = 256
"""What the console keeps before it is printed, at most."""
_NO_BYTE = 0x100


class _Uart(ctypes.Structure):
    """``struct uart``."""

    _fields_ = (
        ("registers", ctypes.c_uint32 * (0x4C // 4)),
        ("raised", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("watched", ctypes.c_uint32),
        ("text", ctypes.c_uint8 * CONSOLE_BYTES),
    )


_INTIDS = 288
_WORDS = _INTIDS // 32


class _Gic(ctypes.Structure):
    """``struct gic``."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("control", "waker")),
        *(
            (name, ctypes.c_uint32 * _WORDS)
            for name in ("group", "enabled", "latched", "active", "lines")
        ),
        ("edges", ctypes.c_uint32 * (2 * _WORDS)),
        ("priority", ctypes.c_uint8 * _INTIDS),
        ("route", ctypes.c_uint64 * _INTIDS),
        *(
            (name, ctypes.c_uint32)
            for name in ("mask", "point", "cpu_control", "enabled_group0", "enabled_group1")
        ),
        *(
            (name, ctypes.c_uint32)
            for name in ("active_priorities", "active_priorities0", "point0")
        ),
    )


class _BoardState(ctypes.Structure):
    """``struct board``."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("blocks", "mmu", "print", "next")),
        ("gic", _Gic),
        ("uart", _Uart),
    )


_PRINT = ctypes.CFUNCTYPE(None)

_library = native.library()
native.check_shared(_library, "board_shared", {"struct board": ctypes.sizeof(_BoardState)})
native.check_shared(
    _library,
    "pl011_shared",
    {"CONSOLE_BYTES": CONSOLE_BYTES, "NO_BYTE": _NO_BYTE, "UART_INTID": 33},
)
_start = native.function("board_start", None, ctypes.c_void_p)
_interrupt = native.function("board_interrupt", ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)
_may_interrupt = native.function(
    "board_may_interrupt", ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p
)
_sleep = native.function("board_sleep", ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)


def needs_room(banks: Iterable[tuple[int, int]]) -> None:
    """Refuse RAM, ``banks`` of (PA, bytes), where a kernel has to find the UART and the GIC.

    Raises MachineError.
    """
    banks = tuple(banks)
    for base, size in ((UART_BASE, UART_WINDOW), (GIC_DISTRIBUTOR_BASE, GIC_WINDOW)):
        if _meets(banks, base, size):
            raise MachineError(
                f"there is RAM at PA {base:#x}, where a device of QEMU's board would be: no "
                "new kernel can run on",
                hint="leave --boot out, and give --kernel or --size: the demo kernel always "
                "runs on; or memory elsewhere (--memory-map)",
            )


def _meets(banks: Iterable[tuple[int, int]], base: int, size: int) -> bool:
    return any(low < base + size and base < low + length for low, length in banks)


class Board:
    """The devices and the firmware around ``cpu``, as after power-on; they are its from now on.

    ``screen`` has what is printed. ``regime`` says by what PSCI is called: HVC where there is no
    EL2, else SMC. The board lives as long as the CPU does, whatever kernels run on it one after the
    other. ``shown`` are features of the CPU that kernels are not told of else: they are slow, or
    chance. Raises MachineError where there is RAM in a device's place.
    """

    def __init__(
        self,
        cpu: Cpu,
        regime: Regime,
        screen: Screen,
        shown: Iterable[ShownFeature] = (),
    ) -> None:
        needs_room(cpu.memory.banks)
        self.cpu, self.screen = cpu, screen
        self._state = _BoardState(blocks=cpu.blocks_address, mmu=cpu.mmu.address)
        self._print = _PRINT(self._printed)
        self._state.print = ctypes.cast(self._print, ctypes.c_void_p).value or 0
        self.address = ctypes.addressof(self._state)
        self.on_alarm = native.address(_library, "board_interrupt")
        self.on_register = native.address(_library, "access_icc")
        _start(self.address)
        self._state.uart.watched = screen.last_expected if screen.expects else _NO_BYTE
        for device in self._devices():
            cpu.map_device(device)
        cpu.add_registers(KEPT)
        cpu.join(self)
        cpu.hide(set(ShownFeature).difference(shown))
        cpu.firmware = Psci("hvc" if regime is Regime.EL1 else "smc")

    def interrupt(self) -> int:
        """The level that takes an interrupt before the next block, 0 if none does."""
        return int(_interrupt(self.cpu.uc._uch, self.address))

    def sleep(self) -> bool:
        """Let time go on to the next timer that ends a WFI; whether there is one."""
        return bool(_sleep(self.cpu.uc._uch, self.address))

    def may_interrupt(self) -> bool:
        """Whether an interrupt may come while the CPU stays where it is."""
        return bool(_may_interrupt(self.cpu.uc._uch, self.address))

    def flush(self) -> None:
        """Print what the console has of a line that has not ended."""
        self._printed()
        self._state.uart.count = 0

    def _printed(self) -> None:
        uart = self._state.uart
        self.screen.print(bytes(uart.text[: uart.count]))

    def _devices(self) -> list[NativeDevice]:
        window = [
            (UART_BASE, UART_WINDOW, "uart_load", "uart_store"),
            (GIC_DISTRIBUTOR_BASE, GIC_WINDOW, "gic_load", "gic_store"),
        ]
        quiet = [(base, size, "load_zeros", "store_nothing") for base, size in QUIET_DEVICES]
        quiet += [(base, size, "load_ones", "store_nothing") for base, size in PCI_CONFIG_SPACES]
        window += [one for one in quiet if not self._is_in_ram(one[0], one[1])]
        return [
            NativeDevice(
                base,
                size,
                native.address(_library, load),
                native.address(_library, store),
                self.address,
            )
            for base, size, load, store in window
        ]

    def _is_in_ram(self, base: int, size: int) -> bool:
        return _meets(self.cpu.memory.banks, base, size)
