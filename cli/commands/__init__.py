"""The commands, one a file; imports relokit, timing, machines, reporting, mutation, project,
codegen, codegen.base, linker.foreign, linker.kernel, diffing.*, runtime.kexec, runtime.show.shown,
runtime.live, runtime.campaign, runtime.judge, runtime.behaviour, runtime.mutation, cli, cli.pages,
cli.terminal, cli.results.
"""
