"""Job: everything a person can ask of one run, as plain data (it crosses a process boundary)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

RAM_BASE = 0x4000_0000
"""PA where QEMU virt's RAM starts."""


class Order(StrEnum):
    """How source pages lie in guest RAM."""

    SHUFFLED = "shuffled"
    IN_ORDER = "in-order"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True)
class Job:
    """Input files, places and limits of one run.

    ``kernel`` None means the demo kernel, unless ``size`` (bytes) asks for a synthetic payload.
    ``memory`` is guest RAM in bytes, None: chosen to fit. ``*_at`` are PAs, None: chosen by the
    boot protocol's rules. ``code_from`` is a shipped kernel whose own relocation code and EL2
    vectors run in place of ours. ``boot`` lets the new kernel run on after the hand-over for at
    most that many seconds.
    """

    kernel: Path | None = None
    initrd: Path | None = None
    dtb: Path | None = None
    cmdline: str | None = None
    size: int | None = None
    memory: int | None = None
    kernel_at: int | None = None
    initrd_at: int | None = None
    dtb_at: int | None = None
    order: Order = Order.SHUFFLED
    seed: int = 0
    code_from: Path | None = None
    templates: Path | None = None
    boot: float | None = None
    timeout: float = 120.0
    max_instructions: int = 1 << 40
