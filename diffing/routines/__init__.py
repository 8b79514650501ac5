"""Two routines side by side: aligned, paired, each difference by kind; imports codegen,
codegen.base, linker, diffing, diffing.read, diffing.instructions.
"""
