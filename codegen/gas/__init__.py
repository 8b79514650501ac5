"""The assembler: GNU as's language, text to Object; its own modules import codegen, codegen.base,
codegen.gas.instructions.
"""
