"""One thing wrong in code or data that runs: what may be, the machine with it, what became of it;
imports codegen, codegen.base, linker, linker.foreign, runtime.guest, runtime.arch,
runtime.record, runtime.board, runtime.kexec, runtime.judge, runtime.judge.rules,
runtime.judge.rules.traced, runtime.run.
"""
