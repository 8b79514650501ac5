"""How long moves take: asked of the machine room, drawn, and as a page of the docs; imports
relokit, codegen, codegen.base, linker.kernel, runtime.record, runtime.judge.model.caches,
runtime.timing.*, runtime.kexec, runtime.evidence, runtime.run.
"""
