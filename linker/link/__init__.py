"""Objects and a script to an Image: layout, symbols, relocation; imports codegen.*, linker,
linker.script.
"""
