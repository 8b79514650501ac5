"""Snapshot to Around: where the interrupt controller and other CPUs are at work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from relokit.codegen.facts import HCR_EL2_E2H
from relokit.runtime.arch.translation import SCTLR_M, WalkRegisters
from relokit.runtime.arch.walker import walk
from relokit.runtime.guest.address_spans import Span, merged, without
from relokit.runtime.guest.around import Around, DeviceTable, HeldMemory, OtherCpu
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import WORD, GuestMemory
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.live.firmware_reading import FirmwareReader
from relokit.runtime.live.old_tree import reserved, tree_at
from relokit.runtime.snapshot.snapshot import CpuSnapshot, Devices, Power, Snapshot

NO_TREE = (
    "nobody says where the old kernel's device tree is: 'tree' in snapshot.json, "
    "or a kernel that tells its initial_boot_params"
)
NO_LOAD = "nobody looked at RAM when the image was loaded: that does 'relokit record' from there on"
KEPT = frozenset(
    {
        OwnerKind.CONTROL_PAGE,
        OwnerKind.LIST,
        OwnerKind.EL2_VECTORS,
        OwnerKind.LINEAR_MAP,
        OwnerKind.CONTROL_IDMAP,
    }
)
"""What is made at the load, for the move, and is nobody's to store to."""
# Fields: ARM IHI 0069, 12.11 (GICR_CTLR, GICR_PROPBASER, GICR_PENDBASER), 12.19 (GITS_CTLR,
# GITS_BASERn, GITS_CBASER, GITS_CWRITER, GITS_CREADR).
ENABLED = 1
ID_BITS = 0x1F
LARGEST_ID_BITS = 31
FIRST_LPI = 8192
CONFIG_PA = (1 << 52) - (1 << 12)
PENDING_PA = (1 << 52) - (1 << 16)
BASER_VALID, BASER_INDIRECT = 1 << 63, 1 << 62
BASER_PAGES = {0: 1 << 12, 1: 1 << 14, 2: 1 << 16, 3: 1 << 16}
CBASER_PA = (1 << 52) - (1 << 12)
CBASER_OFFSET = (1 << 20) - (1 << 5)
BASER_PA = (1 << 48) - (1 << 12)


def surroundings(
    snapshot: Snapshot, memory: GuestMemory, tree: int | None = None, handed: bytes | None = None
) -> Around:
    """Those of the CPU that leaves its kernel in ``snapshot``, whose RAM is ``memory``.

    The kernel was booted with the device tree at PA ``tree``, None if nobody knows; the next one is
    handed ``handed``.
    """
    others = [one for one in enumerate(snapshot.cpus) if one[0] != snapshot.cpu]
    cpus = tuple(
        OtherCpu(number, _place(one, memory)) for number, one in others if one.power != Power.OFF
    )
    devices = snapshot.devices
    return Around(
        None if devices is None else tuple(_tables(devices, memory)),
        cpus,
        len(others),
        *_held(memory, tree, handed),
    )


def prepared(
    snapshot: Snapshot, regions: Iterable[Region], sources: Iterable[Span], *, copies_late: bool
) -> tuple[HeldMemory, ...] | str:
    """What of ``regions`` and ``sources`` has changed since its load, if that was seen.

    ``copies_late``: the kernel puts its code into the control page at the jump.
    """
    if snapshot.load is None:
        return NO_LOAD
    changed = merged((base, base + size) for base, size in snapshot.load.changed)
    kept = KEPT - {OwnerKind.CONTROL_PAGE} if copies_late else KEPT
    wanted = [(str(one.owner), [(one.base, one.end)]) for one in regions if one.owner.kind in kept]
    wanted.append((OwnerKind.SOURCES.value, merged(sources)))
    return tuple(
        HeldMemory(name, low, high - low)
        for name, spans in wanted
        for low, high in without(spans, without(spans, changed))
    )


def _held(
    memory: GuestMemory, at: int | None, handed: bytes | None
) -> tuple[tuple[HeldMemory, ...] | str, tuple[HeldMemory, ...] | str]:
    """What the tree at PA ``at`` reserves, and what the UEFI has that it or ``handed`` names."""
    own = None if at is None else tree_at(memory, at)
    reserves: tuple[HeldMemory, ...] | str = NO_TREE
    if own is not None and at is not None:
        reserves = tuple(reserved(own, at))
    handed_on = None if handed is None else FirmwareReader(memory, handed)
    old = None if own is None else FirmwareReader(memory, own)
    firmware = next((one for one in (old, handed_on) if one is not None and one.present), None)
    if firmware is None:
        return reserves, NO_TREE if own is None else ()
    if firmware.problem is not None:
        return reserves, firmware.problem
    # A kernel that is not told of it looks for no table.
    told = handed_on is not None and handed_on.present
    return reserves, (*firmware.held(), *(firmware.named() if told else ()))


def _tables(devices: Devices, memory: GuestMemory) -> Iterator[DeviceTable]:
    told: set[int] = set()
    for number, one in enumerate(devices.redistributors):
        if not one.ctlr & ENABLED:
            continue
        ids = 1 << min((one.propbaser & ID_BITS) + 1, LARGEST_ID_BITS)
        if one.propbaser not in told:
            told.add(one.propbaser)
            size = max(ids - FIRST_LPI, 0)
            yield DeviceTable("GICR_PROPBASER", one.propbaser, one.propbaser & CONFIG_PA, size)
        yield DeviceTable(
            f"GICR_PENDBASER of CPU {number}", one.pendbaser, one.pendbaser & PENDING_PA, ids // 8
        )
    for its in devices.its:
        for number, baser in enumerate(its.basers if its.ctlr & ENABLED else ()):
            if baser & BASER_VALID:
                page = BASER_PAGES[baser >> 8 & 3]
                base = baser & BASER_PA
                if page == 1 << 16:
                    # Of such pages, bits 51:48 are where smaller ones have 15:12.
                    base = base & -page | (baser >> 12 & 0xF) << 48
                size = ((baser & 0xFF) + 1) * page
                yield DeviceTable(f"GITS_BASER{number}", baser, base, size)
                if baser & BASER_INDIRECT:
                    for low, high in _second_level(memory, base, size, page):
                        name = f"GITS_BASER{number}, level 2"
                        yield DeviceTable(name, baser, low, high - low)
        offsets = (one & CBASER_OFFSET for one in (its.cwriter, its.creadr))
        if its.ctlr & ENABLED and its.cbaser & BASER_VALID and len(set(offsets)) > 1:
            # Commands that it has not read yet: otherwise it reads none until it is given some.
            base, size = its.cbaser & CBASER_PA, ((its.cbaser & 0xFF) + 1) << 12
            yield DeviceTable("GITS_CBASER", its.cbaser, base, size)


def _second_level(memory: GuestMemory, base: int, size: int, page: int) -> list[Span]:
    """Where a table at PA ``base`` leads to: a page by each valid entry (GITS_BASERn.Indirect)."""
    if not memory.contains(base, size):
        return []
    words = memory.u64(base, size // WORD)
    there = words[words & np.uint64(BASER_VALID) != 0] & np.uint64((1 << 52) - page)
    return merged((pa, pa + page) for pa in np.unique(there).tolist())


def _place(cpu: CpuSnapshot, memory: GuestMemory) -> int | None:
    """PA of what ``cpu`` executes; None if its registers do not say."""
    own = cpu.registers
    pc, cpsr = own.get("PC"), own.get("CPSR")
    if pc is None or cpsr is None:
        return None
    el = max(cpsr >> 2 & 3, 1)
    names = [f"{name}_EL{el}" for name in ("SCTLR", "TCR", "TTBR0")]
    if any(name not in own for name in names):
        return None
    sctlr, tcr, ttbr0 = (own[name] for name in names)
    if not sctlr & SCTLR_M:
        return pc
    return walk(
        memory,
        WalkRegisters(
            sctlr=sctlr,
            tcr=tcr,
            ttbr0=ttbr0,
            ttbr1=own.get(f"TTBR1_EL{el}", 0),
            mair=own.get(f"MAIR_EL{el}", 0),
            e2h=el == 2 and bool(own.get("HCR_EL2", 0) & HCR_EL2_E2H),
        ),
        pc,
        el=el,
    ).pa
