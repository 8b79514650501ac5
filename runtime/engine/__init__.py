"""The CPU on Unicorn and its hooks; imports codegen, codegen.base, runtime.guest, runtime.arch,
runtime.record.
"""
