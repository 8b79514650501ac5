"""What booting.rst asks of system registers: which bits, on which CPUs, for which entry.

Documentation/arch/arm64/booting.rst, "CPU mode" and "Architectural features"; bits by ARM DDI 0487,
D19.2, those of the GIC by ARM IHI 0069 and ARM AES 0070. A kernel never sees EL3's registers: what
they must hold was set by firmware, and is ours to leave alone.
"""

from __future__ import annotations

from enum import Enum

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.rules.handover.cpu_features import CpuFeature as F


class EntryLevel(Enum):
    """The level at which the new kernel is entered."""

    ANY = 0
    EL1 = 1
    EL2 = 2


class Wanted(Enum):
    """What the bits must be."""

    ONES = "1"
    ZEROS = "0"
    NOT_ZERO = "not 0"
    UNCHANGED = "what it was before machine_kexec"


@dataclass(frozen=True, slots=True)
class Bits:
    """``mask`` of ``register`` must be as ``wanted`` if all ``features`` are there.

    ``host`` is the value of HCR_EL2.E2H for which the register has this format, None for both;
    ``gicv2`` whether the device tree has a GICv2, None if that does not matter.
    """

    register: str
    mask: int
    wanted: Wanted = Wanted.ONES
    entry: EntryLevel = EntryLevel.ANY
    features: frozenset[F] = frozenset()
    host: bool | None = None
    gicv2: bool | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of the contract: the rule that judges it, and all of its bits.

    ``executed`` says that an emulated CPU has what it is about.
    """

    rule: str
    must: str
    rows: tuple[Bits, ...]
    consequence: str
    executed: bool = False


def _bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


def _all(*features: F) -> frozenset[F]:
    return frozenset(features)


def _el3(register: str, mask: int, *features: F, wanted: Wanted = Wanted.ONES) -> Bits:
    return Bits(register, mask, wanted, features=_all(F.EL3, *features))


def _below(
    register: str,
    mask: int,
    *features: F,
    wanted: Wanted = Wanted.ONES,
    host: bool | None = None,
) -> Bits:
    """A register of EL2 that has to let a kernel at EL1 have the feature."""
    return Bits(register, mask, wanted, EntryLevel.EL1, _all(F.EL2, *features), host)


def _fine_grained(name: str, mask: int, *features: F) -> tuple[Bits, ...]:
    """The pair of fine-grained traps for reads and writes: a bit that is 1 traps nothing."""
    return tuple(_below(name.format(kind), mask, *features) for kind in "RW")


ALL = (1 << 64) - 1
_GIC = _all(F.EL2, F.GICV3)
_TRAPPED = "The first instruction that uses it traps to a level that knows nothing of it: "

CONTRACT: tuple[Clause, ...] = (
    Clause(
        "handoff.counter",
        "CNTFRQ is set, CNTVOFF as it was, and a kernel at EL1 may read the physical counter",
        (
            Bits("CNTFRQ_EL0", ALL, Wanted.NOT_ZERO),
            Bits("CNTFRQ_EL0", ALL, Wanted.UNCHANGED),
            Bits("CNTVOFF_EL2", ALL, Wanted.UNCHANGED, features=_all(F.EL2)),
            _below("CNTHCTL_EL2", _bits(0), host=False),
            _below("CNTHCTL_EL2", _bits(10), host=True),
        ),
        "Time runs wrong or not at all: no timer interrupt comes, or counters of CPUs differ.",
        executed=True,
    ),
    Clause(
        "handoff.firmware",
        "what firmware has set up at EL3 is as it was",
        tuple(
            _el3(name, ALL, *features, wanted=Wanted.UNCHANGED)
            for name, features in (
                ("SCR_EL3", ()),
                ("CPTR_EL3", ()),
                ("MDCR_EL3", ()),
                ("ZCR_EL3", (F.SVE,)),
                ("SMCR_EL3", (F.SME,)),
                ("ICC_SRE_EL3", (F.GICV3,)),
                ("ICC_CTLR_EL3", (F.GICV3,)),
            )
        ),
        "Firmware and the kernel no longer agree on who takes which interrupt and trap.",
        executed=True,
    ),
    Clause(
        "handoff.hvc",
        "SCR_EL3.HCE is 1 for a kernel that is entered at EL2",
        (Bits("SCR_EL3", _bits(8), entry=EntryLevel.EL2, features=_all(F.EL3)),),
        "HVC is undefined: a kernel that drops to EL1 cannot come back, and has no KVM.",
        executed=True,
    ),
    Clause(
        "handoff.gicv3",
        "the GICv3 system registers are enabled for the level that is entered",
        (
            Bits("ICC_SRE_EL3", _bits(3, 0), features=_all(F.EL3, F.GICV3), gicv2=False),
            Bits("ICC_SRE_EL2", _bits(3, 0), Wanted.ONES, EntryLevel.EL1, _GIC, gicv2=False),
        ),
        "The kernel's first access to the CPU interface is undefined: it panics in its GIC driver.",
    ),
    Clause(
        "handoff.gicv2",
        "a GICv3 that the device tree calls a GICv2 has its system registers disabled",
        (
            Bits("ICC_SRE_EL3", _bits(0), Wanted.ZEROS, features=_all(F.EL3, F.GICV3), gicv2=True),
            Bits("ICC_SRE_EL2", _bits(0), Wanted.ZEROS, EntryLevel.EL1, _GIC, gicv2=True),
        ),
        "Interrupts are signalled to system registers that a driver for a GICv2 never reads.",
    ),
    Clause(
        "handoff.gicv5",
        "a kernel at EL1 may use all of the GICv5 CPU interface",
        (
            _below("ICH_HFGRTR_EL2", _bits(*range(16, 21), *range(8)), F.GICV5),
            _below("ICH_HFGWTR_EL2", _bits(*range(17, 21), 6, 5, 2, 0), F.GICV5),
            _below("ICH_HFGITR_EL2", _bits(*range(11)), F.GICV5),
        ),
        _TRAPPED + "no interrupt can be acknowledged.",
    ),
    Clause(
        "handoff.pauth",
        "pointer authentication is trapped nowhere",
        (
            _el3("SCR_EL3", _bits(16, 17), F.PAUTH),
            _below("HCR_EL2", _bits(40, 41), F.PAUTH),
        ),
        _TRAPPED + "kernels sign return addresses from their first function on.",
        executed=True,
    ),
    Clause(
        "handoff.amu",
        "activity monitors count and are trapped nowhere",
        (
            _el3("CPTR_EL3", _bits(30), F.AMU, wanted=Wanted.ZEROS),
            _el3("CPTR_EL2", _bits(30), F.AMU, F.EL2, wanted=Wanted.ZEROS),
            Bits("AMCNTENSET0_EL0", 0xF, features=_all(F.AMU)),
        ),
        _TRAPPED + "frequency invariance reads them at boot.",
    ),
    Clause(
        "handoff.fgt",
        "EL3 lets a kernel at EL2 set fine-grained traps and HCRX_EL2",
        (
            Bits("SCR_EL3", _bits(27), entry=EntryLevel.EL2, features=_all(F.EL3, F.FGT)),
            Bits("SCR_EL3", _bits(59), entry=EntryLevel.EL2, features=_all(F.EL3, F.FGT2)),
            Bits("SCR_EL3", _bits(38), entry=EntryLevel.EL2, features=_all(F.EL3, F.HCX)),
        ),
        _TRAPPED + "init_el2_state writes them before there is a console.",
    ),
    Clause(
        "handoff.fp",
        "floating point is trapped nowhere",
        (
            _el3("CPTR_EL3", _bits(10), F.FP, wanted=Wanted.ZEROS),
            _below("CPTR_EL2", _bits(10), F.FP, wanted=Wanted.ZEROS, host=False),
            _below("CPTR_EL2", _bits(21, 20), F.FP, host=True),
        ),
        _TRAPPED + "user space dies at its first floating point instruction.",
        executed=True,
    ),
    Clause(
        "handoff.sve",
        "SVE is trapped nowhere",
        (
            _el3("CPTR_EL3", _bits(8), F.SVE),
            _below("CPTR_EL2", _bits(8), F.SVE, wanted=Wanted.ZEROS, host=False),
            _below("CPTR_EL2", _bits(17, 16), F.SVE, host=True),
        ),
        _TRAPPED + "the kernel probes vector lengths at boot.",
        executed=True,
    ),
    Clause(
        "handoff.sme",
        "SME is trapped nowhere, with FA64 and ZT0 where they are there",
        (
            _el3("CPTR_EL3", _bits(12), F.SME),
            _el3("SCR_EL3", _bits(41), F.SME),
            _below("CPTR_EL2", _bits(12), F.SME, wanted=Wanted.ZEROS, host=False),
            _below("CPTR_EL2", _bits(25, 24), F.SME, host=True),
            _below("SCTLR_EL2", _bits(60), F.SME),
            *_fine_grained("HFG{}TR_EL2", _bits(55, 54), F.SME),
            _el3("SMCR_EL3", _bits(31), F.SME, F.SME_FA64),
            _below("SMCR_EL2", _bits(31), F.SME, F.SME_FA64),
            _el3("SMCR_EL3", _bits(30), F.SME2),
            _below("SMCR_EL2", _bits(30), F.SME2),
        ),
        _TRAPPED + "the kernel probes vector lengths at boot.",
    ),
    Clause(
        "handoff.mte",
        "allocation tags may be accessed",
        (
            _el3("SCR_EL3", _bits(26), F.MTE2),
            _below("HCR_EL2", _bits(56), F.MTE2),
        ),
        _TRAPPED + "the kernel clears tags of its zero page at boot.",
    ),
    Clause(
        "handoff.brbe",
        "the branch record buffer may be used",
        (
            _el3("MDCR_EL3", _bits(32), F.BRBE),
            _below("BRBCR_EL2", _bits(3, 4), F.BRBE),
            _below("HDFGRTR_EL2", _bits(61, 60, 59), F.BRBE),
            _below("HDFGWTR_EL2", _bits(61, 60), F.BRBE),
            _below("HFGITR_EL2", _bits(56, 55), F.BRBE),
        ),
        _TRAPPED + "a profiler takes the machine down.",
    ),
    Clause(
        "handoff.pmu",
        "debug registers and the PMU are trapped nowhere",
        (
            _el3("MDCR_EL3", _bits(9), wanted=Wanted.ZEROS),
            _el3("MDCR_EL3", _bits(6), F.PMUV3, wanted=Wanted.ZEROS),
            _el3("MDCR_EL3", _bits(7), F.PMUV3P9),
            *_fine_grained("HDFG{}TR2_EL2", _bits(4, 3, 2), F.PMUV3P9),
        ),
        _TRAPPED + "the kernel resets breakpoints and counters at boot.",
        executed=True,
    ),
    Clause(
        "handoff.spe",
        "filtering of profiles by data source may be used",
        (
            _el3("MDCR_EL3", _bits(42), F.SPE, F.SPE_FDS),
            *_fine_grained("HDFG{}TR2_EL2", _bits(19), F.SPE, F.SPE_FDS),
        ),
        _TRAPPED + "a profiler takes the machine down.",
    ),
    Clause(
        "handoff.mops",
        "a kernel at EL1 may use memory copy and set instructions, and EL2 handles what they raise",
        (_below("HCRX_EL2", _bits(11, 10), F.MOPS),),
        _TRAPPED + "memcpy itself is made of them.",
    ),
    Clause(
        "handoff.tcr2",
        "TCR2 and permission indirection are trapped nowhere",
        (
            _el3("SCR_EL3", _bits(43), F.TCR2),
            _below("HCRX_EL2", _bits(14), F.TCR2),
            _el3("SCR_EL3", _bits(45), F.S1PIE),
            *_fine_grained("HFG{}TR_EL2", _bits(58, 57), F.S1PIE),
        ),
        _TRAPPED + "the kernel sets them before it turns its MMU on.",
    ),
    Clause(
        "handoff.gcs",
        "guarded control stacks are off at every level, and may be turned on",
        (
            Bits("GCSCR_EL1", ALL, Wanted.ZEROS, features=_all(F.GCS)),
            Bits("GCSCRE0_EL1", ALL, Wanted.ZEROS, features=_all(F.GCS)),
            Bits("GCSCR_EL2", ALL, Wanted.ZEROS, features=_all(F.GCS, F.EL2)),
            _el3("SCR_EL3", _bits(39), F.GCS),
            _below("HCRX_EL2", _bits(22), F.GCS),
            _below("HFGITR_EL2", _bits(59, 58, 57), F.GCS),
            *_fine_grained("HFG{}TR_EL2", _bits(53, 52), F.GCS),
        ),
        "With a control stack left on, the new kernel's first return is checked against the old "
        "kernel's stack and faults. The zeros are the old kernel's to leave, not firmware's.",
    ),
    Clause(
        "handoff.ls64",
        "64-byte loads and stores are not trapped at EL1",
        (
            _below("HCRX_EL2", _bits(1), F.LS64),
            _below("HCRX_EL2", _bits(2), F.LS64_V),
        ),
        _TRAPPED + "drivers of accelerators use them.",
    ),
)
