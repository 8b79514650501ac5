"""What a machine may hold after a trace, as sets; its own modules import codegen, runtime.arch,
runtime.guest, runtime.record.
"""
