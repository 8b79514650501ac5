"""What happened, and nothing judged: stations, facts about RAM, how each leg ended, the trace;
imports codegen, codegen.base, runtime.guest, runtime.arch.
"""
