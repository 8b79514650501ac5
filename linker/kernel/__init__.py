"""Shipped kernels: Image containers, kallsyms, BTF, alternatives."""
