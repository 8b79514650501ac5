"""ELF files in and out; imports codegen, codegen.base, linker."""
