"""One statement's words: expressions, operands, and instructions by Keystone or by tables of ours;
imports codegen, codegen.base.
"""
