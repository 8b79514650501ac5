"""Which features a CPU has, by its ID registers (ARM DDI 0487, D19.2: ID_AA64*_EL1)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.record.known import UnknownFactError


@dataclass(frozen=True, slots=True)
class IdField:
    """Four bits of an ID register from ``low`` on: the feature is there from ``least`` on.

    ``none`` is a value that means the feature is absent, whatever its size.
    """

    register: str
    low: int
    least: int = 1
    none: int | None = None

    def says(self, identity: Mapping[str, int]) -> bool:
        """Whether it is there; UnknownFactError if the register is not known."""
        if self.register not in identity:
            raise UnknownFactError(f"{self.register} was not recorded")
        value = identity[self.register] >> self.low & 0xF
        return value >= self.least and value != self.none


_PFR0, _PFR1, _PFR2 = (f"ID_AA64PFR{number}_EL1" for number in range(3))
_ISAR1, _ISAR2, _DFR0 = "ID_AA64ISAR1_EL1", "ID_AA64ISAR2_EL1", "ID_AA64DFR0_EL1"
_MMFR0, _MMFR1, _MMFR3 = (f"ID_AA64MMFR{number}_EL1" for number in (0, 1, 3))


class CpuFeature(Enum):
    """A feature; the value are fields of which one has to say that it is there."""

    EL2 = (IdField(_PFR0, 8),)
    EL3 = (IdField(_PFR0, 12),)
    FP = (IdField(_PFR0, 16, 0, none=0xF),)
    GICV3 = (IdField(_PFR0, 24),)
    SVE = (IdField(_PFR0, 32),)
    AMU = (IdField(_PFR0, 44),)
    MTE2 = (IdField(_PFR1, 8, 2),)
    SME = (IdField(_PFR1, 24),)
    SME2 = (IdField(_PFR1, 24, 2),)
    GCS = (IdField(_PFR1, 44),)
    GICV5 = (IdField(_PFR2, 12),)
    PMUV3 = (IdField(_DFR0, 8, none=0xF),)
    PMUV3P9 = (IdField(_DFR0, 8, 9, none=0xF),)
    SPE = (IdField(_DFR0, 32),)
    SPE_FDS = (IdField("PMSIDR_EL1", 4, 8),)
    BRBE = (IdField(_DFR0, 52),)
    LS64 = (IdField(_ISAR1, 60),)
    LS64_V = (IdField(_ISAR1, 60, 2),)
    PAUTH = (
        *(IdField(_ISAR1, low) for low in (4, 8, 24, 28)),
        *(IdField(_ISAR2, low) for low in (8, 12)),
    )
    MOPS = (IdField(_ISAR2, 16),)
    FGT = (IdField(_MMFR0, 56),)
    FGT2 = (IdField(_MMFR0, 56, 2),)
    HCX = (IdField(_MMFR1, 40),)
    TCR2 = (IdField(_MMFR3, 0),)
    S1PIE = (IdField(_MMFR3, 8),)
    SME_FA64 = (IdField("ID_AA64SMFR0_EL1", 60, 8),)


@dataclass(frozen=True, slots=True)
class CpuFeatures:
    """Which features a CPU has and lacks; why nothing is known of the others."""

    there: frozenset[CpuFeature]
    lacking: frozenset[CpuFeature]
    unknown: Mapping[CpuFeature, str]

    def has(self, wanted: frozenset[CpuFeature]) -> bool:
        """Whether all of ``wanted`` are there; raises UnknownFactError where that is not known."""
        if wanted <= self.there:
            return True
        if wanted & self.lacking:
            return False
        raise UnknownFactError(next(why for one, why in self.unknown.items() if one in wanted))


_last: tuple[Mapping[str, int], CpuFeatures] | None = None
"""Those of the last record: sixty rules ask one after the other."""


def features_of(identity: Mapping[str, int]) -> CpuFeatures:
    """The features of a CPU with these ID registers, which do not change."""
    global _last
    if _last is None or _last[0] is not identity:
        _last = identity, _features_of(tuple(identity.items()))
    return _last[1]


@lru_cache(maxsize=16)
def _features_of(identity: tuple[tuple[str, int], ...]) -> CpuFeatures:
    """There are few CPUs in a matrix."""
    registers = dict(identity)
    there: set[CpuFeature] = set()
    lacking: set[CpuFeature] = set()
    unknown: dict[CpuFeature, str] = {}
    for feature in CpuFeature:
        try:
            found = any(field.says(registers) for field in feature.value)
        except UnknownFactError as missing:
            unknown[feature] = str(missing)
        else:
            (there if found else lacking).add(feature)
    return CpuFeatures(frozenset(there), frozenset(lacking), unknown)
