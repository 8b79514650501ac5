"""What a report has beside a verdict: whose files, what the trace shows, counts, times; imports
codegen.base, linker.kernel, runtime.show, runtime.timing, machines, timing.
"""
