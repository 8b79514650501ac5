"""Cpu to CpuFacts: the state at a station, as a record keeps it."""

from __future__ import annotations

from contextlib import suppress

from relokit.codegen.base.errors import MachineError
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.stations import SYSTEM, CpuFacts


def cpu_facts(cpu: Cpu) -> CpuFacts:
    """The state of ``cpu`` now; registers that it lacks are left out."""
    system = {}
    for name in SYSTEM:
        with suppress(MachineError):
            system[name] = cpu.read(name)
    return CpuFacts(
        pc=cpu.pc,
        pstate=cpu.pstate,
        x=cpu.registers,
        sp=cpu.sp,
        system=system,
        translation=cpu.walk_registers(),
    )
