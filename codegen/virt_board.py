"""Where things lie on the board that everything runs on: QEMU's ``virt`` with a GICv3.

Source: QEMU's hw/arm/virt.c (memory map, interrupts), as its own device tree states them too.
"""

from __future__ import annotations

UART_BASE, UART_SIZE = 0x0900_0000, 0x1000
"""PA and size of the PL011."""
GIC_DISTRIBUTOR_BASE, GIC_DISTRIBUTOR_SIZE = 0x0800_0000, 0x1_0000
GIC_REDISTRIBUTORS_BASE, GIC_REDISTRIBUTORS_SIZE = 0x080A_0000, 0xF6_0000
