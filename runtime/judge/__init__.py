"""Judges a Record by the book of rules, and runs nothing; its own modules import codegen,
codegen.base, runtime.guest, runtime.record, runtime.kexec, runtime.judge.rules.*.
"""
