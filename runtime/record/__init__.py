"""What happened, and nothing judged: stations, facts about RAM, how each leg ended; imports
codegen, runtime.guest, runtime.arch.
"""
