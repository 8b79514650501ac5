"""A shipped kernel boots, leaves by its own kexec, and is judged doing so; imports codegen,
codegen.base, linker, linker.kernel, runtime.snapshot, runtime.guest, runtime.arch, runtime.record,
runtime.engine.*, runtime.board, runtime.kexec, runtime.found, runtime.judge, runtime.evidence,
runtime.run.
"""
