"""What is around the CPU: device tree, UART, interrupts, timer, firmware; the boot protocol;
imports codegen, codegen.base, linker.kernel, runtime.guest, runtime.arch, runtime.record,
runtime.engine.
"""
