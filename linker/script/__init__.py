"""The ld-script language: text to statements and expressions; imports codegen, codegen.base,
linker.
"""
