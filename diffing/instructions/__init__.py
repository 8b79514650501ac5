"""Words to instructions, and to what counts of them."""
