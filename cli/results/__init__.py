"""What a command came to, as CI takes it; imports relokit, codegen.base, runtime.judge,
runtime.judge.rules, cli.terminal.
"""
