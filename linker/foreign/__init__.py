"""Code of kexec that is not ours, by every door: object, linked ELF, assembly, kernel; imports
codegen.*, linker, linker.elf, linker.kernel, linker.link.
"""
