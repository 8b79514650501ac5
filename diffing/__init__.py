"""Machine code side by side: decode, normalise, align, classify. Knows no output but plain text."""
