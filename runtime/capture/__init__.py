"""A QEMU that is driven to a kernel's hand-over, and kept as a snapshot; imports codegen,
codegen.base, linker.kernel, runtime.snapshot.
"""
