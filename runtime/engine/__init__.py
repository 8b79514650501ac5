"""The CPU on Unicorn, its hooks and its stops."""
