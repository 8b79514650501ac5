"""Machines written out and read in; imports codegen.*, linker.*, runtime.guest, runtime.kexec."""
