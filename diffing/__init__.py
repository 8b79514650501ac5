"""Machine code side by side: decode, normalise, align, classify, with no output but plain text;
its own modules import nothing.
"""
