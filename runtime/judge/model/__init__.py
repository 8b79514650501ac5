"""What a machine may hold after a trace, as sets; imports codegen, codegen.base, runtime.arch,
runtime.record.
"""
