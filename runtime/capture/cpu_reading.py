"""Registers, CPUs and devices of a machine that a GDB stub has stopped."""

from __future__ import annotations

import re
from collections.abc import Mapping

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.virt_board import GIC_REDISTRIBUTORS_BASE
from relokit.runtime.capture.gdb import GdbClient, RegisterSpot
from relokit.runtime.snapshot.snapshot import CpuSnapshot, Devices, Its, Power, Redistributor

RENAMED = {
    name: f"{name}_EL1" for name in ("SCTLR", "CPACR", "VBAR", "CNTKCTL", "TCR", "MAIR", "ESR")
}
"""QEMU's names of registers of EL1 that it gives no level."""
MAX_SIZE = 8
BOOT_CODE, BOOT_TREE = (0x580000C0).to_bytes(4, "little"), 0x18
"""LDR X0 of what is behind the six instructions by which QEMU enters a kernel (hw/arm/boot.c)."""
PROBES, PROBE = 64, 256
"""How many places of RAM are compared, and how many bytes of each."""
FDT_MAGIC = b"\xd0\x0d\xfe\xed"
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
_CALLS = frozenset({0xD4000002, 0xD4000003})
"""HVC #0 and SMC #0: how a CPU has itself switched off (PSCI)."""

# GICv3 (ARM IHI 0069, 12.10 and 12.18): a redistributor is two frames of 64 KiB.
REDISTRIBUTOR = 1 << 17
GICR_CTLR, GICR_PROPBASER, GICR_PENDBASER, GICR_PIDR2 = 0x0, 0x70, 0x78, 0xFFE8
ITS_BASE = 0x0808_0000
"""Of QEMU's virt (hw/arm/virt.c)."""
GITS_CBASER, GITS_CWRITER, GITS_CREADR = 0x80, 0x88, 0x90
GITS_CTLR, GITS_BASER, GITS_PIDR2, BASERS = 0x0, 0x100, 0xFFE8, 8


def tree_to_boot_with(client: GdbClient, base: int) -> int | None:
    """PA of the tree that QEMU's own code, at PA ``base``, enters a kernel with.

    None if that is not there: a firmware enters it, or it has been overwritten. The machine may
    have run on meanwhile.
    """
    client.physical(True)
    code = client.memory(base, BOOT_TREE + 8) or b""
    tree = int.from_bytes(code[BOOT_TREE:], "little")
    known = code[:4] == BOOT_CODE and client.memory(tree, 4) == FDT_MAGIC
    client.physical(False)
    return tree if known else None


def check_ram(client: GdbClient, base: int, ram: HostFile) -> None:
    """Raise MachineError if the file ``ram`` is not the RAM of the machine from PA ``base`` on.

    Some places of it are compared: it is stopped.
    """
    client.physical(True)
    step = max(ram.size // PROBES // PROBE, 1) * PROBE
    for at in range(0, ram.size - PROBE + 1, step):
        if client.memory(base + at, PROBE) != bytes(ram.content[at : at + PROBE]):
            raise MachineError(
                f"PA {base + at:#x} of the machine is not what the file has at byte {at:,}",
                where=ram.where,
                hint="give QEMU -object memory-backend-file,share=on and that file; its first PA "
                "is --ram-base",
            )
    client.physical(False)


def all_registers(client: GdbClient, spots: Mapping[str, RegisterSpot]) -> dict[str, int]:
    """Those of the CPU that is looked at, by architectural name."""
    found: dict[str, int] = {}
    for own, spot in spots.items():
        name = RENAMED.get(own.upper(), own.upper())
        if spot.size <= MAX_SIZE and _NAME.fullmatch(name) and name not in found:
            value = client.register(spot)
            if value is not None:
                found[name] = value
    return found


def cpu_snapshot(
    client: GdbClient, spots: Mapping[str, RegisterSpot], cpu: str, *, leaving: bool
) -> CpuSnapshot:
    """CPU ``cpu`` as it is; ``leaving`` is the one that is switched on in any case."""
    client.look_at(cpu)
    registers = all_registers(client, spots)
    power = Power.ON
    if not leaving and client.halted(cpu):
        power = Power.OFF if _called_firmware(client, registers.get("PC", 0)) else Power.HALTED
    return CpuSnapshot(power, registers)


def _called_firmware(client: GdbClient, pc: int) -> bool:
    """Whether the CPU is at a call of firmware, or behind it: it is not back then."""
    words = (client.memory(at, 4) for at in (pc, pc - 4))
    return any(word is not None and int.from_bytes(word, "little") in _CALLS for word in words)


def devices(client: GdbClient, cpus: int) -> Devices | None:
    """The GICv3 of QEMU's virt, None if it has another; the stub has to read by PA."""

    def word(at: int, size: int) -> int:
        data = client.memory(at, size)
        return int.from_bytes(data, "little") if data else 0

    redistributors = []
    for number in range(cpus):
        base = GIC_REDISTRIBUTORS_BASE + number * REDISTRIBUTOR
        if not word(base + GICR_PIDR2, 4):
            break
        redistributors.append(
            Redistributor(
                word(base + GICR_CTLR, 4),
                word(base + GICR_PROPBASER, 8),
                word(base + GICR_PENDBASER, 8),
            )
        )
    if not redistributors:
        return None
    its = []
    if word(ITS_BASE + GITS_PIDR2, 4):
        basers = tuple(word(ITS_BASE + GITS_BASER + 8 * n, 8) for n in range(BASERS))
        commands = (word(ITS_BASE + at, 8) for at in (GITS_CBASER, GITS_CWRITER, GITS_CREADR))
        its.append(Its(word(ITS_BASE + GITS_CTLR, 4), basers, *commands))
    return Devices(tuple(redistributors), tuple(its))
