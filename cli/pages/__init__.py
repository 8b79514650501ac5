"""What is shown as an HTML page or an SVG file; imports relokit, reporting, timing, mutation,
codegen.base, diffing.*, runtime.show, runtime.timing, runtime.live, runtime.judge,
runtime.judge.rules.
"""
