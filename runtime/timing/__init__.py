"""What a move does, counted, phase by phase; its own modules import codegen, codegen.base,
runtime.guest, runtime.record, runtime.judge.model.caches.
"""
