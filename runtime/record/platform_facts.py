"""The platform before machine_kexec: what its CPU says of itself, and what firmware has set up."""

from __future__ import annotations

from collections.abc import Mapping

from relokit.codegen.base.nouns import dataclass

IDENTITY = (
    "MIDR_EL1", "CTR_EL0", "ID_AA64PFR0_EL1", "ID_AA64PFR1_EL1", "ID_AA64PFR2_EL1",
    "ID_AA64DFR0_EL1", "ID_AA64ISAR1_EL1", "ID_AA64ISAR2_EL1", "ID_AA64MMFR0_EL1",
    "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1", "ID_AA64MMFR3_EL1", "ID_AA64SMFR0_EL1",
)  # fmt: skip
"""Registers in which a CPU says what it is and has."""

PROVIDED = (
    "CNTFRQ_EL0", "CNTVOFF_EL2", "CNTHCTL_EL2", "CPTR_EL2", "MDCR_EL2", "ZCR_EL2", "SMCR_EL2",
    "HCRX_EL2", "HFGRTR_EL2", "HFGWTR_EL2", "HFGITR_EL2", "HDFGRTR_EL2", "HDFGWTR_EL2",
    "ICC_SRE_EL2", "SCR_EL3", "CPTR_EL3", "MDCR_EL3", "ZCR_EL3", "SMCR_EL3", "ICC_SRE_EL3",
)  # fmt: skip
"""Registers that whoever booted the old kernel has set up for it, and that the new one needs so."""


@dataclass(frozen=True, slots=True)
class PlatformFacts:
    """``identity`` are registers of IDENTITY as an MRS reads them, ``provided`` those of PROVIDED
    as they were before machine_kexec; what the CPU lacks is in neither.

    ``unwritten`` are registers that nobody has written since reset: they may hold anything.
    """

    identity: Mapping[str, int]
    provided: Mapping[str, int]
    unwritten: tuple[str, ...] = ()
