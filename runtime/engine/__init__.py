"""The CPU on Unicorn and its hooks; its own modules import codegen, codegen.base, runtime.guest,
runtime.arch, runtime.record.
"""
