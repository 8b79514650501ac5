"""What a run has to fulfil, and why it did not; imports codegen, codegen.base, linker,
runtime.guest, runtime.arch, runtime.engine, runtime.kexec.
"""
