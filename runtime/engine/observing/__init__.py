"""What is seen of a run: the recorder, and what counts; imports codegen, codegen.base,
runtime.arch, runtime.record, runtime.engine.
"""
