"""Many runs: the cells of the matrix; imports codegen, codegen.base, runtime.guest,
runtime.kexec.
"""
