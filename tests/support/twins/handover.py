"""Twins of the clauses of booting.rst that are about system registers, their bits by hand."""

from __future__ import annotations

from dataclasses import replace

from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.record.given import CpuNode, Given
from relokit.runtime.record.record import Record
from support import records as r
from support.twins.chosen import loaded
from support.twins.twins import Twins

PFR0, PFR1, PFR2 = (f"ID_AA64PFR{number}_EL1" for number in range(3))
ISAR1, ISAR2, DFR0 = "ID_AA64ISAR1_EL1", "ID_AA64ISAR2_EL1", "ID_AA64DFR0_EL1"
MMFR0, MMFR1, MMFR3 = "ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR3_EL1"
BASE = 0x1111
"""ID_AA64PFR0_EL1 of a CPU with EL2, EL3 and floating point."""
SCR = 0x531


def _twins(
    identity: dict[str, int], good: dict[str, int], bad: dict[str, int], *, el: int = 1
) -> Twins:
    return Twins(r.provided(identity, {**good, **bad}, el=el), r.provided(identity, good, el=el))


PEN = 0x5800_0000
RESERVED = ((PEN, 0x1000),)


def _spins(release: int | None, held: int | None = 0) -> Record:
    spinning = CpuNode("cpu@1", "spin-table", release, held)
    return r.tree(cpus=(*r.TREE.cpus, spinning), reserved=RESERVED)


def _initrd(at: int) -> Record:
    return loaded(
        r.tree(memory=((0, 1 << 40),), initrd=(at, 0x1000)), PayloadKind.INITRD, (at, 0x1000)
    )


def _low_flags(at: int) -> Record:
    """With an Image that may not be placed anywhere."""
    record = _initrd(at)
    assert isinstance(record.given, Given)
    return replace(record, given=replace(record.given, image=replace(r.IMAGE, flags=0b10)))


HANDOVER: dict[str, Twins] = {
    "handoff.initialised": Twins(
        replace(r.GOOD, platform=replace(r.PLATFORM, unwritten=("VTTBR_EL2",))),
        # EL3's are above a kernel at EL2.
        replace(r.GOOD, platform=replace(r.PLATFORM, unwritten=("TPIDR_EL3",))),
    ),
    "handoff.counter": _twins({}, {"CNTHCTL_EL2": 1}, {"CNTHCTL_EL2": 2}),
    "handoff.firmware": Twins(r.arrived(system={"MDCR_EL3": 1 << 20})),
    "handoff.hvc": _twins({}, {"SCR_EL3": 0x531}, {"SCR_EL3": 0x431}, el=2),
    "handoff.gicv3": _twins(
        {PFR0: BASE | 1 << 24},
        {"ICC_SRE_EL3": 0xF, "ICC_CTLR_EL3": 0, "ICC_SRE_EL2": 9},
        {"ICC_SRE_EL2": 1},
    ),
    "handoff.gicv2": Twins(
        *(
            replace(
                r.provided(
                    {PFR0: BASE | 1 << 24},
                    {"ICC_SRE_EL3": 8, "ICC_CTLR_EL3": 0, "ICC_SRE_EL2": 8 | enabled},
                ),
                given=Given(r.IMAGE, replace(r.TREE, gicv2=True)),
            )
            for enabled in (1, 0)
        )
    ),
    "handoff.gicv5": _twins(
        {PFR2: 1 << 12},
        {"ICH_HFGRTR_EL2": 0x1F00FF, "ICH_HFGWTR_EL2": 0x1E0065, "ICH_HFGITR_EL2": 0x7FF},
        {"ICH_HFGITR_EL2": 0x3FF},
    ),
    "handoff.pauth": _twins(
        {ISAR1: 1 << 4}, {"SCR_EL3": SCR | 0x30000, "HCR_EL2": 3 << 40}, {"HCR_EL2": 1 << 41}
    ),
    "handoff.amu": _twins(
        {PFR0: BASE | 1 << 44}, {"AMCNTENSET0_EL0": 0xF}, {"AMCNTENSET0_EL0": 0x7}, el=2
    ),
    "handoff.fgt": _twins(
        {MMFR0: 1 << 56, MMFR1: 1 << 40},
        {"SCR_EL3": SCR | 1 << 27 | 1 << 38},
        {"SCR_EL3": SCR | 1 << 27},
        el=2,
    ),
    "handoff.fp": _twins({}, {"CPTR_EL2": 0}, {"CPTR_EL2": 1 << 10}),
    "handoff.sve": _twins(
        {PFR0: BASE | 1 << 32}, {"CPTR_EL3": 1 << 8, "ZCR_EL3": 0xF}, {"CPTR_EL2": 1 << 8}
    ),
    "handoff.sme": _twins(
        {PFR1: 1 << 24},
        {
            "SCR_EL3": SCR | 1 << 41,
            "CPTR_EL3": 1 << 12,
            "SMCR_EL3": 0,
            "SCTLR_EL2": 1 << 60,
            "HFGRTR_EL2": 3 << 54,
            "HFGWTR_EL2": 3 << 54,
        },
        {"HFGWTR_EL2": 1 << 54},
    ),
    "handoff.mte": _twins(
        {PFR1: 2 << 8}, {"SCR_EL3": SCR | 1 << 26, "HCR_EL2": 1 << 56}, {"HCR_EL2": 0}
    ),
    "handoff.brbe": _twins(
        {DFR0: 1 << 52},
        {
            "MDCR_EL3": 3 << 32,
            "BRBCR_EL2": 0x18,
            "HDFGRTR_EL2": 7 << 59,
            "HDFGWTR_EL2": 3 << 60,
            "HFGITR_EL2": 3 << 55,
        },
        {"MDCR_EL3": 2 << 32},
    ),
    "handoff.pmu": _twins({DFR0: 1 << 8}, {"MDCR_EL3": 0}, {"MDCR_EL3": 1 << 6}, el=2),
    "handoff.spe": _twins(
        {DFR0: 5 << 32, "PMSIDR_EL1": 1 << 7},
        {"MDCR_EL3": 1 << 42, "HDFGRTR2_EL2": 1 << 19, "HDFGWTR2_EL2": 1 << 19},
        {"HDFGRTR2_EL2": 0},
    ),
    "handoff.mops": _twins({ISAR2: 1 << 16}, {"HCRX_EL2": 0xC00}, {"HCRX_EL2": 0x800}),
    "handoff.tcr2": _twins(
        {MMFR3: 1}, {"SCR_EL3": SCR | 1 << 43, "HCRX_EL2": 1 << 14}, {"HCRX_EL2": 0}
    ),
    "handoff.gcs": _twins(
        {PFR1: 1 << 44},
        {"SCR_EL3": SCR | 1 << 39, "GCSCR_EL1": 0, "GCSCRE0_EL1": 0, "GCSCR_EL2": 0},
        {"GCSCRE0_EL1": 1},
        el=2,
    ),
    "handoff.ls64": _twins({ISAR1: 2 << 60}, {"HCRX_EL2": 6}, {"HCRX_EL2": 2}),
    "handoff.tree": Twins(r.tree(problem="its first word is 0x00000000")),
    "handoff.tree-place": Twins(r.tree(at=r.DTB + 4)),
    "handoff.cpus": Twins(r.tree(psci=False)),
    "handoff.spin-table": Twins(_spins(PEN + 0x1008), _spins(PEN + 8)),
    "handoff.image-base": Twins(r.image(text_offset=0x1000)),
    "handoff.image-range": Twins(
        replace(
            r.image(at=1 << 48),
            given=Given(replace(r.IMAGE, at=1 << 48), replace(r.TREE, memory=((0, 1 << 49),))),
        )
    ),
    "handoff.image-room": Twins(r.tree(reserved=((r.KERNEL + 0x3000, 0x1000),))),
    "handoff.image-above": Twins(_low_flags(r.KERNEL - 0x1000), _low_flags(r.KERNEL + 0x10_0000)),
    "handoff.image-pages": Twins(r.image(flags=0b1100), r.image(flags=0b1000)),
    "handoff.initrd": Twins(_initrd(r.KERNEL + (32 << 30)), _initrd(r.KERNEL + 0x10_0000)),
}
