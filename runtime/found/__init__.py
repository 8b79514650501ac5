"""A Machine made of RAM and registers that nobody here has built; imports codegen, codegen.base,
linker, linker.kernel, runtime.guest, runtime.arch, runtime.board, runtime.kexec.
"""
