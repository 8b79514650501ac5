"""What a machine may hold after a trace, as sets; imports codegen, runtime.arch, runtime.record."""
