"""What a project says of its findings; imports relokit, codegen.base, runtime.judge,
runtime.judge.rules.
"""
