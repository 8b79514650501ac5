"""Where things lie on the board that everything runs on: QEMU's ``virt`` with a GICv3.

Source: QEMU's hw/arm/virt.c (memory map, interrupts), as its own device tree states them too.
"""

from __future__ import annotations

UART_BASE, UART_SIZE = 0x0900_0000, 0x1000
"""PA and size of the PL011."""
GIC_DISTRIBUTOR_BASE, GIC_DISTRIBUTOR_SIZE = 0x0800_0000, 0x1_0000
GIC_REDISTRIBUTORS_BASE, GIC_REDISTRIBUTORS_SIZE = 0x080A_0000, 0xF6_0000

QUIET_DEVICES = (
    (0x0901_0000, 0x5_0000),  # clock, fw_cfg, GPIO, and the second UART
    (0x0A00_0000, 0x1_0000),  # virtio transports
    (0x1000_0000, 0x2F00_0000),  # what PCI devices would have
)
"""Base and size in bytes of what else is there and read as zeros: nobody is at home."""
PCI_CONFIG_SPACES = ((0x3F00_0000, 0x100_0000), (0x40_1000_0000, 0x1000_0000))
"""Configuration space of PCI, low and high: no device is behind it, which is all ones."""
