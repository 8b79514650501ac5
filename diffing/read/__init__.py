"""Operands to sides: routines, names, source lines."""
