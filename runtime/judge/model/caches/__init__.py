"""What the caches may hold, line by line; imports codegen, codegen.base, runtime.arch,
runtime.record, runtime.judge.model.
"""
