"""LLVM IR to machine code of this host (docs/adr/0002)."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm


def compile_ir(*functions: str) -> Any:
    """The execution engine that holds ``functions``; it has to live as long as they are called."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    module = llvm.parse_assembly("".join(functions))
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine
