"""Shipped kernels: Image containers, kallsyms, BTF, alternatives; imports codegen, codegen.base,
linker.
"""
