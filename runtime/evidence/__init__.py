"""A Record with what it is of: judged, stored and read again, shown to other tools; imports
codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.kexec, runtime.judge.
"""
