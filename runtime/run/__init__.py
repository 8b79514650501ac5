"""Machines executed, from the jump to the new kernel's console; imports codegen.*, linker.*,
runtime.guest, runtime.arch, runtime.record, runtime.engine.*, runtime.board, runtime.kexec,
runtime.judge, runtime.evidence, runtime.timing.
"""
