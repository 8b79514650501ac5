"""What a rule is, and how one tells: small functions over a Record; its own modules import codegen,
codegen.base, runtime.arch, runtime.record.
"""
