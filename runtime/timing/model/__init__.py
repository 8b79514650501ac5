"""Counts to nanoseconds: machines by few parameters, what is measured, what follows; imports
codegen.base, runtime.judge.model.caches, runtime.timing.
"""
