"""A Machine or a Record to what a person looks at: maps, lists, tables, code, steps; imports
codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.engine,
runtime.engine.observing, runtime.kexec, runtime.judge.rules, runtime.evidence, runtime.run.
"""
