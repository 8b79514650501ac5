"""What a machine may hold after a trace, as sets; its own modules import codegen, codegen.base,
runtime.guest, runtime.arch, runtime.record.
"""
