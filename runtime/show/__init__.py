"""A Machine or a Record to what a person looks at: maps, lists, tables, code, steps; its own
modules import codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.engine,
runtime.engine.observing, runtime.kexec, runtime.judge.rules, runtime.evidence, runtime.run,
runtime.show.shown.
"""
