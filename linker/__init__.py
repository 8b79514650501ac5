"""Object to Image: ld scripts, placement, relocation, ELF in and out, kernel files in; its own
modules import codegen, codegen.base.
"""
