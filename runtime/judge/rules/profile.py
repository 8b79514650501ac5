"""Profiles: what a CPU guarantees beyond the worst that the architecture allows, and its errata.

The worst machine decides a verdict. Beside it a finding says if it would not bite on one CPU: that
has a guarantee which excuses what is missing, or lacks the erratum that the finding is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class IdBits:
    """``width`` bits of an ID register from ``low`` on, which are ``least`` or more."""

    register: str
    low: int
    width: int
    least: int


class Guarantee(Enum):
    """What some CPUs promise (ARM DDI 0487, D19.2: CTR_EL0, ID_AA64MMFR1_EL1, ID_AA64MMFR2_EL1).

    IDC: fetches need no clean to the point of unification. DIC: they need no IC. ETS2: a DSB makes
    a translation visible to loads and stores. BBML1 and BBML2: block size may be changed in place.
    """

    IDC = IdBits("CTR_EL0", 28, 1, 1)
    DIC = IdBits("CTR_EL0", 29, 1, 1)
    ETS2 = IdBits("ID_AA64MMFR1_EL1", 36, 4, 2)
    BBML1 = IdBits("ID_AA64MMFR2_EL1", 52, 4, 1)
    BBML2 = IdBits("ID_AA64MMFR2_EL1", 52, 4, 2)

    def held_by(self, identity: Mapping[str, int]) -> bool:
        """Whether a CPU with these ID registers gives it; one that is not known does not."""
        bits: IdBits = self.value
        value = identity.get(bits.register, 0) >> bits.low & (1 << bits.width) - 1
        return value >= bits.least


@dataclass(frozen=True, slots=True)
class CpuModel:
    """A CPU by MIDR_EL1: its implementer's code (bits 31:24) and part number (15:4)."""

    name: str
    implementer: int
    part: int

    def is_of(self, midr: int) -> bool:
        """Whether ``midr`` is one of these, of whatever revision."""
        return midr >> 24 & 0xFF == self.implementer and midr >> 4 & 0xFFF == self.part


CORTEX_A55 = CpuModel("Cortex-A55", 0x41, 0xD05)
CORTEX_A72 = CpuModel("Cortex-A72", 0x41, 0xD08)
CORTEX_A76 = CpuModel("Cortex-A76", 0x41, 0xD0B)
CORTEX_A510 = CpuModel("Cortex-A510", 0x41, 0xD46)
THUNDERX2 = CpuModel("ThunderX2", 0x43, 0x0AF)
VULCAN = CpuModel("Vulcan", 0x42, 0x516)
FALKOR = CpuModel("Falkor", 0x51, 0xC00)
MODELS = (CORTEX_A55, CORTEX_A72, CORTEX_A76, CORTEX_A510, THUNDERX2, VULCAN, FALKOR)


@dataclass(frozen=True, slots=True)
class Erratum:
    """A defect of some CPUs. ``rule`` judges the work-around, and bites on no other CPU.

    ``models`` are empty where the defect is not the CPU's, but of what lies between CPUs and
    memory; such a finding bites wherever that may be.
    """

    rule: str
    models: tuple[CpuModel, ...]
    what: str
    source: str


ERRATA = (
    Erratum(
        "errata.e1041",
        (FALKOR,),
        "with the MMU being turned off, speculation may fetch from unmapped addresses",
        "Kconfig: QCOM_FALKOR_ERRATUM_E1041",
    ),
    Erratum(
        "errata.e1003",
        (FALKOR,),
        "a change of ASID and TTBR at once may leave entries of the wrong ASID",
        "Kconfig: QCOM_FALKOR_ERRATUM_1003",
    ),
    Erratum(
        "errata.thunderx2-219",
        (THUNDERX2, VULCAN),
        "a load, store or prefetch between an MSR to TTBR and its ISB may abort",
        "Kconfig: CAVIUM_TX2_ERRATUM_219",
    ),
    Erratum(
        "errata.repeat-tlbi",
        (CORTEX_A55, CORTEX_A76, CORTEX_A510, FALKOR),
        "a broadcast TLBI and its DSB have to be done twice",
        "Kconfig: ARM64_WORKAROUND_REPEAT_TLBI (1286807, 2441007, 2441009, Falkor 1009)",
    ),
    Erratum(
        "errata.4311569",
        (),
        "below the SI L1 interconnect maintenance may be seen late, unless it is done twice",
        "Kconfig: ARM64_ERRATUM_4311569",
    ),
)
"""Errata that concern caches, TLBs and context on the way to a new kernel."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A CPU: what it guarantees, and which of MODELS it is (None: another)."""

    name: str
    guarantees: frozenset[Guarantee] = frozenset()
    model: CpuModel | None = None

    def spares(self, rule: str, excuses: frozenset[Guarantee]) -> str | None:
        """Why a finding of ``rule`` does not bite here, if one of ``excuses`` is given."""
        for guarantee in Guarantee:
            if guarantee in excuses & self.guarantees:
                return f"it has {guarantee.name}"
        for erratum in ERRATA:
            if erratum.rule == rule and erratum.models and self.model not in erratum.models:
                names = ", ".join(model.name for model in erratum.models)
                return f"it is none of {names}"
        return None


def profile_of(identity: Mapping[str, int]) -> Profile:
    """The CPU with these ID registers, as the emulator has it."""
    midr = identity.get("MIDR_EL1", 0)
    model = next((one for one in MODELS if one.is_of(midr)), None)
    name = model.name if model else f"the CPU with MIDR {midr:#x}"
    given = frozenset(one for one in Guarantee if one.held_by(identity))
    return Profile(f"{name} (emulated)", given, model)


PROFILES = {
    profile.name: profile
    for profile in (
        *(Profile(model.name.lower(), model=model) for model in MODELS),
        Profile("coherent-fetch", frozenset({Guarantee.IDC, Guarantee.DIC})),
        Profile("best", frozenset(Guarantee)),
    )
}
"""Profiles by name. What a model guarantees depends on how it is built into a machine, too: those
here are taken to guarantee nothing. ``best`` is the most that the architecture knows."""


def profile_named(name: str) -> Profile:
    """The one of PROFILES that is called ``name``; raises MachineError if none is."""
    if name not in PROFILES:
        raise MachineError(f"no profile {name!r}", hint=f"one of {', '.join(PROFILES)}")
    return PROFILES[name]
