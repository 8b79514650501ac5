"""All functions of two kernels, by words; imports codegen, codegen.base, linker.*, diffing.*."""
