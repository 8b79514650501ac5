"""What a machine may hold after a trace, as sets; imports codegen, codegen.base, runtime.guest,
runtime.arch, runtime.record.
"""
