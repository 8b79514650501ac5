"""What is shown as an HTML page or an SVG file; imports relokit, reporting, mutation,
codegen.base, diffing.*, runtime.judge.
"""
