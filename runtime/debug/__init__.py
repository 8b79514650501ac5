"""A guest under a debugger: run by steps, forwards and by replay, and spoken of in GDB's remote
protocol; imports codegen, codegen.base, runtime.guest, runtime.arch, runtime.record,
runtime.engine, runtime.kexec, runtime.run, runtime.show.
"""
