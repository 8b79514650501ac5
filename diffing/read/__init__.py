"""Operands to sides: routines, names, source lines; imports codegen.*, linker.*, diffing."""
