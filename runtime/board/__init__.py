"""What is around the CPU: device tree, UART, interrupts, timer, firmware; the boot protocol."""
