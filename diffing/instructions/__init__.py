"""Words to instructions, and to what counts of them; imports codegen.*, diffing.read."""
