"""Two routines side by side: aligned, paired, each difference by kind."""
