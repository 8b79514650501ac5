"""What a TLB may hold; imports codegen, codegen.base, runtime.arch, runtime.record,
runtime.judge.model.
"""
