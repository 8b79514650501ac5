"""What a command came to, as CI takes it; imports relokit, mutation, codegen.base,
diffing.kernels, diffing.routines, runtime.live, runtime.judge, runtime.judge.rules,
runtime.behaviour, runtime.mutation, cli.terminal.
"""
