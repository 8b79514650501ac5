"""Campaigns of mutants: asked for, reported, and as a page of the docs; imports relokit, codegen,
codegen.base, linker.foreign, linker.kernel, runtime.campaign, runtime.kexec, runtime.mutation,
runtime.room.
"""
