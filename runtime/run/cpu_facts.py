"""Cpu to CpuFacts: the state at a station, as a record keeps it."""

from __future__ import annotations

from relokit.codegen.system_registers import register_key
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.record.platform_facts import IDENTITY, PROVIDED, PlatformFacts
from relokit.runtime.record.stations import SYSTEM, CpuFacts

Names = tuple[str, ...]
_had: dict[tuple[str, Names], tuple[Names, tuple[int, ...]]] = {}
"""By CPU model and registers, which of them it has, by name and encoding: each one that it lacks
takes an exception."""


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
    return _values(cpu, PROVIDED)


def _values(cpu: Cpu, names: Names) -> dict[str, int]:
    known = _had.get((cpu.model, names))
    if known is None:
        # A board may add registers that the engine lacks: they come and go with it.
        had = tuple(name for name in names if cpu.has(register_key(name)))
        known = _had[cpu.model, names] = had, tuple(register_key(name) for name in had)
    had, keys = known
    return dict(zip(had, cpu.values(keys), strict=True))


def _facts(cpu: Cpu, system: dict[str, int]) -> CpuFacts:
    return CpuFacts(
        pc=cpu.pc,
        pstate=cpu.pstate,
        x=cpu.registers,
        sp=cpu.sp,
        system=system,
        translation=cpu.walk_registers(),
    )
