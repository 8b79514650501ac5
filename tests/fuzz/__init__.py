"""Fuzzing: cases without end, made from a seed, for whatever takes what others wrote.

``make fuzz ARGS="--cases 1000000 --seed 1"``; docs/fuzz.md says what it does and has found.
"""
