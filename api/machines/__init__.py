"""Machines that are not built here: shipped kernels that kexec, snapshots; imports relokit,
codegen, codegen.base, linker, linker.elf, linker.kernel, linker.link, runtime.snapshot,
runtime.capture, runtime.guest, runtime.board, runtime.record, runtime.kexec, runtime.judge,
runtime.evidence, runtime.run, runtime.show.*, runtime.live, runtime.room.
"""
