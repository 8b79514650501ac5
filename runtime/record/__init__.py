"""What happened, and nothing judged: stations, facts about RAM, how each leg ended; imports
codegen, codegen.base, runtime.guest, runtime.arch.
"""
