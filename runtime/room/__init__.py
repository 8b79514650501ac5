"""The machine room: what is asked of it, and the process that carries it out; imports codegen.*,
linker.*, runtime.timing, runtime.kexec, runtime.judge, runtime.run, runtime.show.*, runtime.debug,
runtime.snapshot, runtime.live, runtime.state, runtime.behaviour, runtime.mutation.
"""
