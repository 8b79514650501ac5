"""The assembler: GNU as's language over Keystone's encoder, text to Object; imports codegen,
codegen.base.
"""
