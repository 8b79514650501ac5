"""What is shown on a terminal; imports relokit, timing, mutation, codegen, codegen.base, diffing.*,
runtime.guest, runtime.timing.*, runtime.kexec, runtime.live, runtime.campaign, runtime.judge,
runtime.judge.rules, runtime.show.*, runtime.behaviour, runtime.mutation, cli.pages.
"""
