"""The architecture as tables and pure functions: descriptors, walks, exceptions, registers;
imports codegen, codegen.base, runtime.guest.
"""
