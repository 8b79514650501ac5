"""The assembly and the linker scripts, as Jinja templates (package data, no code); imports
nothing.
"""
