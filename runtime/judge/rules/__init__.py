"""The rules, a subject a file: small functions over a Record; imports codegen, codegen.base,
runtime.guest, runtime.arch, runtime.record, runtime.judge.model.
"""
