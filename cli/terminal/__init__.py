"""What is shown on a terminal; imports relokit, codegen, codegen.base, diffing.*, runtime.kexec,
runtime.campaign, runtime.judge, runtime.behaviour, cli.pages.
"""
