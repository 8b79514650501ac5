"""The rules on where a run arrives and as what: the boot contract, or what is resumed; imports
codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.judge.rules.
"""
