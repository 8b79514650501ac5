"""A Machine or a Record to what a person looks at: maps, lists, tables, code, steps; imports
codegen.base, runtime.guest, runtime.record, runtime.engine, runtime.kexec, runtime.run.
"""
