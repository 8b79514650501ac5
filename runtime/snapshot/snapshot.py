"""Snapshot: a machine that was stopped where its kernel leaves, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from relokit.codegen.base.host_file import HostFile
from relokit.codegen.base.nouns import dataclass

FORMAT = "relokit.snapshot/1"
"""Which format this is: others are refused."""
SNAPSHOT_FILE, REGISTERS_FILE, DEVICES_FILE = "snapshot.json", "registers.json", "devices.json"
LOAD_FILE = "load.json"
RAM_FILE, PACKED_FILE, KERNEL_FILE = "ram", "ram.zst", "kernel"
ZSTD = "zstd"
"""How the file of RAM may be compressed."""
PAGE = 4096
"""Banks and extents are of whole pages of this size."""
GENERAL = (*(f"X{number}" for number in range(31)), "SP", "PC", "CPSR")


class Power(StrEnum):
    """Whether a CPU is switched on; ``halted`` waits for an event."""

    ON = "on"
    HALTED = "halted"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RamExtent:
    """``size`` bytes of RAM from PA ``base``, at ``offset`` of the file."""

    base: int
    size: int
    offset: int


@dataclass(frozen=True)
class CpuSnapshot:
    """``registers`` by architectural name, X0 to X30, SP, PC and CPSR among them."""

    power: Power
    registers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Redistributor:
    """GICR_CTLR, GICR_PROPBASER and GICR_PENDBASER of one CPU."""

    ctlr: int
    propbaser: int
    pendbaser: int


@dataclass(frozen=True, slots=True)
class Its:
    """GITS_CTLR, GITS_BASER0 to 7, and of its commands GITS_CBASER, GITS_CWRITER, GITS_CREADR."""

    ctlr: int
    basers: tuple[int, ...]
    cbaser: int = 0
    cwriter: int = 0
    creadr: int = 0


@dataclass(frozen=True, slots=True)
class Devices:
    """Of the interrupt controller, what goes on when the kernel is gone."""

    redistributors: tuple[Redistributor, ...] = ()
    its: tuple[Its, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadSeen:
    """Pages, as PA and bytes, that were others at the return of machine_kexec_post_load than at its
    entry (``stored``), and at the jump than at that return (``changed``).
    """

    stored: tuple[tuple[int, int], ...]
    changed: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class KernelNamed:
    """The kernel that ran: its file's name and SHA-256, and whether that is in the snapshot."""

    name: str
    sha256: str
    included: bool


@dataclass(frozen=True)
class Snapshot:
    """RAM is ``banks`` (PA, bytes), zero but for ``extents``, which are in ``ram``.

    ``cpu`` is the number of the one that leaves the kernel; ``kimage`` the VA of what it was
    called with, None where that is still in X0. ``devices`` are None where nobody has read them,
    ``tree`` is the PA of the device tree that the kernel was booted with, ``load`` what the load
    had done: None where nobody says.
    """

    banks: tuple[tuple[int, int], ...]
    extents: tuple[RamExtent, ...]
    ram: HostFile
    kernel: KernelNamed
    cpu: int
    cpus: tuple[CpuSnapshot, ...]
    kimage: int | None = None
    devices: Devices | None = None
    tree: int | None = None
    load: LoadSeen | None = None

    @property
    def left_by(self) -> CpuSnapshot:
        """The CPU that leaves the kernel."""
        return self.cpus[self.cpu]
