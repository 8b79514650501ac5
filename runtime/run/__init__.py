"""Machines executed, from the jump to the new kernel's console."""
