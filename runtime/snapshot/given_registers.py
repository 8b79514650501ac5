"""Registers that a person gives beside a dump: a registers.json that need not be whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.snapshot.snapshot import CpuSnapshot
from relokit.runtime.snapshot.snapshot_reading import cpus_of, part_of


@dataclass(frozen=True)
class GivenRegisters:
    """``cpus`` by number, as many as somebody has read; ``cpu`` leaves, with ``kimage``."""

    cpu: int | None
    cpus: tuple[CpuSnapshot, ...]
    kimage: int | None


def read_given(path: Path) -> GivenRegisters:
    """The file at ``path``; raises FormatError, naming it, for what is not as in registers.json."""
    part = part_of(path)
    value: Mapping[str, object] = part.value
    cpus = cpus_of(part)
    cpu = part.of(part.value, "cpu", int) if "cpu" in value else None
    if cpu is not None and not 0 <= cpu < len(cpus):
        part.refuse(f"'cpu' is {cpu}, and there are {len(cpus)}")
    kimage = part.number(part.value, "kimage") if "kimage" in value else None
    return GivenRegisters(cpu, cpus, kimage)
