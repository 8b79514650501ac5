"""Cpu to CpuFacts: the state at a station, as a record keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from relokit.codegen.base.errors import MachineError
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.platform_facts import IDENTITY, PROVIDED, PlatformFacts
from relokit.runtime.record.stations import SYSTEM, CpuFacts

_had: dict[str, tuple[str, ...]] = {}
"""By CPU model, which registers of PROVIDED it has: each one that it lacks takes an exception."""


def cpu_facts(cpu: Cpu) -> CpuFacts:
    """The state of ``cpu`` now; registers that it lacks are left out."""
    return _facts(cpu, _values(cpu, SYSTEM))


def entry_facts(cpu: Cpu) -> CpuFacts:
    """The same, with what firmware provides: for what is entered after the move."""
    return _facts(cpu, _values(cpu, SYSTEM) | provided(cpu))


def platform_facts(cpu: Cpu) -> PlatformFacts:
    """What ``cpu`` is, and what it was given before it runs."""
    identity = {name: cpu.seen(name) for name in IDENTITY}
    return PlatformFacts(identity, provided(cpu))


def provided(cpu: Cpu) -> dict[str, int]:
    """The registers of PROVIDED."""
    names = _had.get(cpu.model)
    if names is None:
        names = _had[cpu.model] = tuple(_values(cpu, PROVIDED))
    return {name: cpu.read(name) for name in names}


def _values(cpu: Cpu, names: Iterable[str]) -> dict[str, int]:
    found = {}
    for name in names:
        with suppress(MachineError):
            found[name] = cpu.read(name)
    return found


def _facts(cpu: Cpu, system: dict[str, int]) -> CpuFacts:
    return CpuFacts(
        pc=cpu.pc,
        pstate=cpu.pstate,
        x=cpu.registers,
        sp=cpu.sp,
        system=system,
        translation=cpu.walk_registers(),
    )
