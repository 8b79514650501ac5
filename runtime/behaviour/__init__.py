"""Two sides of a diff, executed and compared; imports codegen, codegen.base, runtime.guest,
runtime.arch, runtime.record, runtime.engine.*, runtime.kexec, runtime.judge, runtime.evidence,
runtime.run.
"""
