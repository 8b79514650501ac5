"""The rules that need the trace, a subject a file: caches, TLBs, barriers, exceptions and owners;
imports codegen, runtime.guest, runtime.arch, runtime.record, runtime.judge.model.*,
runtime.judge.rules.
"""
