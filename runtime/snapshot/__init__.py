"""A machine that was stopped elsewhere: its RAM, registers and devices, as files; imports
codegen.base, linker, linker.kernel.
"""
