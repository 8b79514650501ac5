"""Machines written out and read in."""
