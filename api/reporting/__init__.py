"""A report of what came of a run, and what it has beside a verdict: whose files, what the trace
shows, counts, times; imports codegen.base, linker.kernel, runtime.show.*, runtime.timing,
runtime.live, runtime.judge, runtime.judge.rules, machines, timing.
"""
