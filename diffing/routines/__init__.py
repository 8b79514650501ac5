"""Two routines side by side: aligned, paired, each difference by kind; imports codegen, linker,
diffing, diffing.read, diffing.instructions.
"""
