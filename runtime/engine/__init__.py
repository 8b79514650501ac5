"""The CPU on Unicorn, its hooks and its stops; imports codegen, codegen.base, runtime.arch,
runtime.guest.
"""
