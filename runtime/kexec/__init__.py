"""The C half of kexec: files to segments, kimage, lists, tables, the old kernel: the Machine;
imports codegen.*, linker.*, runtime.guest, runtime.arch, runtime.board.
"""
