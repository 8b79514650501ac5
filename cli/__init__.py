"""The commands: arguments in, one call of the facade, a view out; its own modules import relokit,
project, codegen, codegen.base, linker.kernel, diffing.instructions, diffing.kernels,
diffing.routines, runtime.guest, runtime.kexec, runtime.campaign, runtime.judge, runtime.live,
runtime.mutation, reporting, mutation, cli.pages, cli.terminal, cli.results.
"""
