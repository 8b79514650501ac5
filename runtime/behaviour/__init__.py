"""Two sides of a diff, executed and compared."""
