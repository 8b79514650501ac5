"""Exception entry, which the engine leaves out (DDI 0487, D1.3.2)."""

from __future__ import annotations

from relokit.codegen.base.bits import MASK64
from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.runtime.arch.exceptions import ExceptionEvent, entry_pstate
from relokit.runtime.arch.register_fields import field
from relokit.runtime.arch.walker import Access
from relokit.runtime.engine.addresses import Addresses


def enter(cpu: Addresses, event: ExceptionEvent, *, has_pan: bool) -> str | None:
    """Enter the handler of the target level; or say why its vector is of no use."""
    el = event.target_el
    vbar = cpu.read(f"VBAR_EL{el}")
    vector = vbar + event.vector_offset & MASK64
    problem = _vector_problem(cpu, vbar, vector, el)
    if problem is None and vector == event.return_address:
        problem = f"the vector at {vector:#x} raises the exception it handles"
    if problem:
        return problem
    span = field("SCTLR", cpu.read(f"SCTLR_EL{el}"), "SPAN")
    cpu.write(f"ELR_EL{el}", event.return_address)
    cpu.write(f"SPSR_EL{el}", event.spsr)
    if not event.is_irq:
        cpu.write(f"ESR_EL{el}", event.esr)
    if event.far is not None:
        cpu.write(f"FAR_EL{el}", event.far)
    pan = has_pan and not span and (el == 1 or _is_host(cpu))
    cpu.set_pstate(entry_pstate(event, set_pan=pan))
    cpu.set_pc(vector)
    return None


def _vector_problem(cpu: Addresses, vbar: int, vector: int, el: int) -> str | None:
    if vbar % VECTOR_TABLE_SIZE:
        return f"VBAR_EL{el} = {vbar:#x} is not 2 KiB aligned"
    walked = cpu.walk(vector, el)
    fault = walked.fault_for(Access.EXECUTE)
    if fault:
        return f"VBAR_EL{el} = {vbar:#x}: the vector at {vector:#x} cannot be fetched: {fault}"
    if walked.pa is None or not cpu.memory.contains(walked.pa, 4):
        return f"VBAR_EL{el} = {vbar:#x}: the vector at {vector:#x} is not in RAM"
    return None


def _is_host(cpu: Addresses) -> bool:
    hcr = cpu.read("HCR_EL2")
    return bool(field("HCR", hcr, "E2H") and field("HCR", hcr, "TGE"))
