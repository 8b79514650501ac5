"""The rules on the move itself: what was set up, how it ended, what was moved and what damaged;
imports codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.judge.rules.
"""
